"""The file that an agent is saved in: what it says of the agent, and its checks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import gymnasium as gym
import numpy as np

from pamdp_agents.files.archive import Archive, SavedFileError, pickle_objects, unpickle_objects
from pamdp_agents.files.space_json import space_from_json, space_to_json
from pamdp_agents.files.streams import write_content

ENTRIES = {
    "agent": str,
    "settings": dict,
    "objects": list,
    "observation_space": dict,
    "action_space": dict,
    "progress": dict,
}
"""What `data.json` must hold, and of which type."""


@dataclass(frozen=True)
class AgentFile:
    """What a saved agent's file says.

    Attributes:
        agent: Name of the agent's class.
        env: Id or class of its environment, or None.
        settings: Its settings, as JSON holds them.
        observation_space: Its observation space.
        action_space: Its action space.
        progress: How far it has come, as JSON holds it.
        arrays: Its weights (`"group:name"`) and where its environments stand.
        objects: Settings that JSON cannot hold.
        replay_buffer: Its replay buffer, or None.
        widest_range: Observations whose bounds are further apart are not scaled; None: they all are.
        masked: Whether its environments say which discrete actions are allowed.
    """

    agent: str
    env: str | None
    settings: dict[str, Any]
    observation_space: gym.Space
    action_space: gym.Space
    progress: dict[str, Any]
    arrays: dict[str, np.ndarray]
    objects: dict[str, Any] = field(default_factory=dict)
    replay_buffer: dict[str, np.ndarray] | None = None
    widest_range: float | None = None
    masked: bool = False

    def write(self, path: str | os.PathLike | IO[bytes]) -> None:
        """Writes the file, whole or not at all.

        Args:
            path: Where to; `.zip` is added if it has no suffix. Or a binary file open for writing.

        Raises:
            OSError: The file cannot be written; what was there before is untouched.
        """
        data = {
            "agent": self.agent,
            "env": self.env,
            "settings": self.settings,
            "objects": sorted(self.objects),
            "observation_space": space_to_json(self.observation_space),
            "action_space": space_to_json(self.action_space),
            "progress": self.progress,
            "widest_range": self.widest_range,
            "masked": self.masked,
        }
        objects = pickle_objects(self.objects) if self.objects else None
        content = Archive(data, self.arrays, self.replay_buffer, objects).to_bytes()
        write_content(path, content, ".zip")


def read_entries(archive: Archive, path: Any) -> dict[str, Any]:
    """Returns what `data.json` in a saved agent's file holds, after checking its types.

    Raises:
        SavedFileError: Something is missing or of another type.
    """
    if wrong := [name for name, kind in ENTRIES.items() if not isinstance(archive.data.get(name), kind)]:
        raise SavedFileError(f"{path} has no proper {' and '.join(wrong)} in data.json: it is damaged")
    return archive.data


def read_spaces(archive: Archive) -> tuple[gym.Space, gym.Space]:
    """Returns the observation space and the action space in a saved agent's file.

    Raises:
        SavedFileError: They are damaged.
    """
    return space_from_json(archive.data["observation_space"]), space_from_json(archive.data["action_space"])


def read_widest_range(archive: Archive) -> float | None:
    """Returns how far apart the bounds of scaled observations may be; None, for all finite ones, in older files.

    Raises:
        SavedFileError: It is no such number.
    """
    widest_range = archive.data.get("widest_range")
    if widest_range is not None and (not isinstance(widest_range, float | int) or not widest_range > 0):
        raise SavedFileError(
            f"widest_range must be a number above 0 or null, got {widest_range!r}: the file is damaged"
        )
    return widest_range


def read_masked(archive: Archive) -> bool:
    """Returns whether the environments of a saved agent said which discrete actions are allowed.

    Raises:
        SavedFileError: It is neither true nor false.
    """
    masked = archive.data.get("masked", False)  # older files do not say
    if not isinstance(masked, bool):
        raise SavedFileError(f"masked must be true or false, got {masked!r}: the file is damaged")
    return masked


def read_objects(archive: Archive, path: Any, replaced: Mapping[str, Any], trust: bool) -> dict[str, Any]:
    """Returns the settings that a saved agent's file holds as a pickle, unless they are all replaced.

    Args:
        archive: The file.
        path: Its name, for error messages.
        replaced: The settings that are given otherwise.
        trust: Unpickle them, which can run any code.

    Raises:
        SavedFileError: They are needed, and not trusted, missing or damaged.
    """
    if not all(isinstance(name, str) for name in archive.data["objects"]):
        raise SavedFileError(f"{path} has no proper objects in data.json: it is damaged")
    needed = set(archive.data["objects"]) - set(replaced)
    if not needed:
        return {}
    if not trust:
        raise SavedFileError(
            f"{path} holds {sorted(needed)} as pickled Python objects, and unpickling can run any code: hand them in "
            f"with custom_objects={{{', '.join(f'{name!r}: ...' for name in sorted(needed))}}}, or, if you trust the "
            "file's origin, load it with trust=True"
        )
    if archive.objects is None:
        raise SavedFileError(f"{path} has no objects.pkl, which its settings {sorted(needed)} need")
    objects = unpickle_objects(archive.objects)
    return {name: value for name, value in objects.items() if name in needed}


def group_by_network(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Returns the weights among a file's arrays: `{"q:hidden/kernel": w}` → `{"q": {"hidden/kernel": w}}`."""
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        group, _, name = key.partition(":")
        if name:
            groups.setdefault(group, {})[name] = value
    return groups
