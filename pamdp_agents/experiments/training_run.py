"""A training that is kept in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import gymnasium as gym

    from pamdp_agents.base.off_policy import OffPolicyAgent


class Run(NamedTuple):
    """A training that has its folder.

    Attributes:
        agent: The agent; it logs to `progress.csv` in the folder.
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
        from pamdp_agents.experiments.plots import learning_curve

        self.agent.dump_logs()
        self.agent.logger.close()
        table, picture = self.folder / "progress.csv", self.folder / "learning_curve.png"
        title = f"{type(self.agent).__name__} on {self.agent.env_name}"
        try:
            learning_curve(table, picture, title)
        except ImportError:
            print(f'{picture.name} was not drawn: pip install "pamdp-agents[plots]"')
        except ValueError as error:
            print(f"{picture.name} was not drawn: {error}")


def set_logger(agent: OffPolicyAgent, folder: Path, tensorboard: Path | None, table: bool) -> None:
    """Makes an agent log to its run folder, and to others at once, which none of its settings does.

    Args:
        agent: The agent.
        folder: Its run folder, which gets `progress.csv`.
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
