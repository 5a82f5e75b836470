"""What the bundled environments share: the action's layout and its checks, and frames of the substeps."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

Observation = NDArray[Any]  # of float64
Action = tuple[Any, Any]
Ranges = tuple[tuple[tuple[float, float], ...], ...]


class ParameterizedEnv(gym.Env[Observation, Any]):
    """An environment whose action is a discrete choice with continuous parameters.

    Args:
        action_names: one name per discrete action, for error messages.
        ranges: for each discrete action, the (low, high) range of each of its parameters, in the
            environment's units.
    """

    def __init__(self, action_names: tuple[str, ...], ranges: Ranges) -> None:
        self._action_names = action_names
        self._ranges = ranges
        self._has_reset = False
        self.action_space = spaces.Tuple(
            (spaces.Discrete(len(ranges)), spaces.Tuple([_box(of_action) for of_action in ranges]))
        )

    def _start(self, seed: int | None) -> None:
        """Seed the random generator as Gymnasium does, and allow steps; the first thing in `reset`."""
        super().reset(seed=seed)
        self._has_reset = True

    def _read_action(self, action: Action) -> tuple[int, list[float]]:
        """Check an action and return its discrete part with that part's own parameters.

        Args:
            action: (k, parameters): k in {0 … K−1}; parameters holds one entry for every discrete action,
                each an array, a sequence, or for a single parameter also a number. Only entry k is read.

        Returns:
            k, and its parameters in the environment's units, clipped to their ranges.

        Raises:
            ResetNeeded: the environment has not been reset yet.
            ValueError: the structure, k, or a parameter of k is not as described, or a parameter is NaN.
        """
        if not self._has_reset:
            raise ResetNeeded("Cannot call `env.step()` before calling `env.reset()`.")
        try:
            k, parameters = action
        except (TypeError, ValueError):
            raise ValueError(
                f"action must be a pair (k, parameters), as `action_space.sample()` returns; got {action!r}."
            ) from None
        count = len(self._ranges)
        try:
            k = operator.index(k)
        except TypeError:
            k = -1
        if not 0 <= k < count:
            choices = ", ".join(f"{i} ({name})" for i, name in enumerate(self._action_names))
            raise ValueError(f"The discrete action must be one of the integers {choices}; got {action[0]!r}.")
        if not isinstance(parameters, (Sequence, np.ndarray)) or len(parameters) != count:
            raise ValueError(
                f"parameters must be a tuple with one entry for each of the {count} discrete actions "
                f"(only the taken action's is read); got {parameters!r}."
            )
        ranges = self._ranges[k]
        try:
            values = np.asarray(parameters[k], dtype=np.float64).reshape(-1).tolist()
        except (TypeError, ValueError):
            values = []
        if len(values) != len(ranges) or any(map(math.isnan, values)):
            accepted = " and ".join(f"a number in [{low:g}, {high:g}]" for low, high in ranges)
            raise ValueError(
                f"The parameters of action {k} ({self._action_names[k]}) must be {accepted} (numbers "
                f"outside are clipped, NaN is refused); got {parameters[k]!r}."
            )
        return k, [min(max(value, low), high) for value, (low, high) in zip(values, ranges, strict=True)]


def _box(ranges: tuple[tuple[float, float], ...]) -> spaces.Box:
    low, high = np.array(ranges, dtype=np.float32).T
    return spaces.Box(low, high)
