"""Run folders, `{log folder}/{algo}/{env}_{n}`: where training writes and where trained agents are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pamdp_agents.experiments.outcomes import CHECKPOINT

CONFIG = "config.json"


def make_folder(parent: Path, env_id: str) -> Path:
    """Makes the folder of an environment's next run, and returns it.

    Args:
        parent: `{log folder}/{algo}`; made if needed.
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


def find_folder(parent: Path, env_id: str, number: int, holding: str) -> Path:
    """Returns the folder of an environment's run.

    Args:
        parent: `{log folder}/{algo}`.
        env_id: The environment's id.
        number: The run's number, 0 for the latest that has what is looked for: one that was killed has no agent.
        holding: The name of the file that is looked for.

    Raises:
        FileNotFoundError: There is none.
    """
    numbers = sorted(_numbers(parent, env_id))
    known = ", ".join(map(str, numbers)) or "none"
    if not numbers or (number and number not in numbers):
        which = f"run {number}" if number else "run"
        raise FileNotFoundError(f"there is no {which} for {env_id} in {parent} (there are: {known}); train one first")
    for wanted in [number] if number else reversed(numbers):
        folder = parent / f"{_file_name(env_id)}_{wanted}"
        if number or (folder / holding).is_file():
            return folder
    folders = [parent / f"{_file_name(env_id)}_{number}" for number in numbers]
    resumable = [folder for folder in folders if (folder / CHECKPOINT).is_file()]
    what_to_do = f"train --resume {resumable[-1]} goes on from a checkpoint" if resumable else "train one first"
    raise FileNotFoundError(f"no run for {env_id} in {parent} has a {holding} (there are: {known}); {what_to_do}")


def read_config(folder: Path) -> dict[str, Any]:
    """Returns the `config.json` of a run folder; empty if there is none.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    file = folder / CONFIG
    if not file.is_file():
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file} is damaged: it must hold the settings of a run, got a {type(config).__name__}")
    return config


def _numbers(parent: Path, env_id: str) -> list[int]:
    found = (path.name.rpartition("_") for path in parent.glob("*_*"))
    return [int(number) for name, _, number in found if name == _file_name(env_id) and number.isdecimal()]


def _file_name(env_id: str) -> str:
    return env_id.replace("/", "-")
