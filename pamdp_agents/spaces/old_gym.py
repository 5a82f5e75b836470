"""The old `gym` package, of which Gymnasium is the successor, recognised without importing it."""

from __future__ import annotations

from typing import Any

import gymnasium


def is_of_old_gym(thing: Any) -> bool:
    """Whether an environment or a space is of the package `gym`, and not of a user's own of this name."""
    if isinstance(thing, gymnasium.Env | gymnasium.vector.VectorEnv | gymnasium.Space):
        return False
    return any(cls.__module__.split(".")[0] == "gym" for cls in type(thing).__mro__)


def refuse_old_space(name: str, space: Any) -> None:
    """Does nothing if a space is not of the package `gym`.

    Raises:
        TypeError: It is.
    """
    if is_of_old_gym(space):
        raise TypeError(
            f"{name} is of the old gym package, {space}: make it of gymnasium.spaces, or wrap an environment that has "
            "it in shimmy.GymV26CompatibilityV0"
        )
