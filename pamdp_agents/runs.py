"""Run folders, ``{log folder}/{algo}/{env}_{n}``: where training writes and where trained agents are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pamdp_agents import saving

if TYPE_CHECKING:
    import gymnasium as gym

    from pamdp_agents.agents.off_policy import OffPolicyAgent


class Run(NamedTuple):
    """A training that has its folder.

    Attributes:
        agent: The agent; it logs to ``progress.csv`` in the folder.
        eval_env: Where it is evaluated.
        folder: The folder.
    """

    agent: OffPolicyAgent
    eval_env: gym.Env
    folder: Path

    @property
    def model(self) -> Path:
        """The file of the agent as it is at the end."""
        return self.folder / "model.zip"

    def save(self) -> None:
        """Saves the agent.

        Raises:
            OSError: The file cannot be written.
        """
        self.agent.save(self.model)

    def end_log(self) -> None:
        """Ends the log table where training ended, and draws it."""
        from pamdp_agents.plots import learning_curve

        self.agent.dump_logs()
        self.agent.logger.close()
        table, picture = self.folder / "progress.csv", self.folder / "learning_curve.png"
        title = f"{type(self.agent).__name__} on {self.agent._env_name()}"
        try:
            learning_curve(table, picture, title)
        except ImportError:
            print(f'{picture.name} was not drawn: pip install "pamdp-agents[plots]"')
        except ValueError as error:
            print(f"{picture.name} was not drawn: {error}")


def new_folder(parent: Path, env_id: str) -> Path:
    """Makes the folder of an environment's next run.

    Args:
        parent: ``{log folder}/{algo}``; made if needed.
        env_id: The environment's id.

    Raises:
        OSError: It cannot be made.
    """
    number = max(_numbers(parent, env_id), default=0) + 1
    while True:
        folder = parent / f"{_file_name(env_id)}_{number}"
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not folder.exists():
                raise NotADirectoryError(f"cannot make a folder in {parent}: part of that path is a file") from None
            number += 1  # another run was quicker
        except OSError as error:
            raise type(error)(f"cannot make the folder {folder} ({error.strerror}); choose another place") from error


def find_folder(parent: Path, env_id: str, number: int) -> Path:
    """Finds the folder of an environment's run.

    Args:
        parent: ``{log folder}/{algo}``.
        env_id: The environment's id.
        number: The run's number, 0 for the latest.

    Raises:
        FileNotFoundError: There is none.
    """
    numbers = _numbers(parent, env_id)
    if not numbers or (number and number not in numbers):
        known = ", ".join(map(str, sorted(numbers))) or "none"
        which = f"run {number}" if number else "run"
        raise FileNotFoundError(f"there is no {which} for {env_id} in {parent} (there are: {known}); train one first")
    return parent / f"{_file_name(env_id)}_{number or max(numbers)}"


def set_logger(agent: OffPolicyAgent, folder: Path, tensorboard: Path | None, table: bool) -> None:
    """Makes an agent log to its run folder, and to others at once, which none of its settings does.

    Args:
        agent: The agent.
        folder: Its run folder, which gets ``progress.csv``.
        tensorboard: Where TensorBoard's log goes, if anywhere.
        table: Whether to print the log table, too.
    """
    from pamdp_agents.logger import CSVOutputFormat, HumanOutputFormat, KVWriter, Logger, TensorBoardOutputFormat

    outputs: list[KVWriter] = [CSVOutputFormat(folder / "progress.csv")]
    if table:
        outputs.append(HumanOutputFormat())
    if tensorboard is not None:
        outputs.append(TensorBoardOutputFormat(tensorboard))
    agent.set_logger(Logger(str(folder), outputs))


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Writes a JSON file, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    saving.write_bytes(path, (json.dumps(content, indent=2) + "\n").encode())


def trained_with(agent_file: Path) -> dict[str, Any]:
    """Returns the ``config.json`` beside a saved agent; empty if there is none.

    Raises:
        ValueError: It is damaged.
    """
    file = agent_file.parent / "config.json"
    if not file.is_file():
        return {}
    config = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(config, dict) or not isinstance(config.get("env_kwargs", {}), dict):
        raise ValueError(f"{file} is damaged: it must hold the settings of a run")
    return config


def _numbers(parent: Path, env_id: str) -> list[int]:
    found = (path.name.rpartition("_") for path in parent.glob("*_*"))
    return [int(number) for name, _, number in found if name == _file_name(env_id) and number.isdecimal()]


def _file_name(env_id: str) -> str:
    return env_id.replace("/", "-")
