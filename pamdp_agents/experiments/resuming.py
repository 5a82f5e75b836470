"""What a run folder says of its run: all that is needed to go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pamdp_agents.experiments.run_folder import CONFIG, read_config

FIELDS = {
    "algorithm": "algo",
    "env": "env",
    "env_kwargs": "env_kwargs",
    "env_wrapper": "env_wrapper",
    "gym_packages": "gym_packages",
    "n_envs": "n_envs",
    "n_timesteps": "n_timesteps",
    "settings": "settings",
    "settings_from": "settings_from",
    "eval_freq": "eval_freq",
    "eval_episodes": "eval_episodes",
    "save_freq": "save_freq",
    "tensorboard_log": "tensorboard_log",
}
"""The names in `config.json` of the fields of a `TrainingRun`."""

NEEDED = ("algo", "env", "seed", "n_timesteps", "settings")


class RecordedRun(NamedTuple):
    """A run as its folders record it.

    Attributes:
        fields: Of a `TrainingRun`, by name; not checked.
        folders: Its run folders, those that are still there.
        missing: The names of those that are not.
    """

    fields: dict[str, Any]
    folders: list[Path]
    missing: list[str]


def read_run(folder: Path) -> RecordedRun:
    """Returns the run that a run folder belongs to, with those that were trained at once with it.

    Raises:
        OSError: There is no such folder, or it cannot be read.
        ValueError: It has no proper `config.json`.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    config = _read(folder)
    names = config.get("folders", [folder.name])
    if not (isinstance(names, list) and all(isinstance(name, str) and Path(name).name == name for name in names)):
        raise ValueError(f"{folder / CONFIG} is damaged: folders must be names of run folders, got {names!r}")
    if folder.name not in names:  # it was renamed
        names = [folder.name]
    there = [folder.parent / name for name in names if (folder.parent / name).is_dir()]
    fields = {field: config[name] for field, name in FIELDS.items() if name in config}
    fields["seeds"] = [_read(each)["seed"] for each in there]
    return RecordedRun(fields, there, [name for name in names if folder.parent / name not in there])


def _read(folder: Path) -> dict[str, Any]:
    config = read_config(folder)
    if missing := [name for name in NEEDED if name not in config]:
        what = f"its {CONFIG} lacks {', '.join(missing)}" if config else f"it has no {CONFIG}"
        raise ValueError(f"{folder} cannot be gone on with: {what}")
    return config
