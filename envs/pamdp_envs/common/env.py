"""What the bundled environments share: the action's layout and its checks, and frames of the substeps."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pamdp_envs.common.rendering import Picture, Screen

Observation = NDArray[Any]  # of float64
Action = tuple[Any, Any]
Ranges = tuple[tuple[tuple[float, float], ...], ...]

# One frame is one substep.
METADATA: dict[str, Any] = {"render_modes": ["human", "rgb_array", "rgb_array_list"], "render_fps": 60}


class ParameterizedEnv(gym.Env[Observation, Any]):
    """An environment whose action is a discrete choice with continuous parameters.

    Args:
        action_names: one name per discrete action, for error messages.
        ranges: for each discrete action, the (low, high) range of each of its parameters, in the
            environment's units.
    """

    metadata = METADATA

    def __init__(self, action_names: tuple[str, ...], ranges: Ranges) -> None:
        self._action_names = action_names
        self._ranges = ranges
        self._has_reset = False
        self._screen: Screen | None = None
        self.action_space = spaces.Tuple(
            (spaces.Discrete(len(ranges)), spaces.Tuple([_box(of_action) for of_action in ranges]))
        )

    def _start(self, seed: int | None) -> None:
        """Seeds the random generator as Gymnasium does, and allows steps; the first thing in `reset`."""
        super().reset(seed=seed)
        self._has_reset = True

    def _open_screen(self, render_mode: str, picture: Picture) -> None:
        """Sets up rendering, for every render mode but None."""
        modes = self.metadata["render_modes"]
        if render_mode not in modes:
            raise ValueError(f"render_mode must be None or one of {modes}; got {render_mode!r}.")
        from pamdp_envs.common.rendering import Screen  # needs pygame, which is an extra

        self.render_mode = render_mode
        self._screen = Screen(render_mode, picture, self.metadata["render_fps"])

    def render(self) -> Any:
        """Draws the world as the render mode asks for; every substep of a step is a frame.

        Returns:
            For `"rgb_array"` the latest frame, uint8 of shape (height, width, 3); for `"rgb_array_list"` the
            frames of all substeps since the last call or reset; for `"human"`, which shows every substep by
            itself, None.

        Raises:
            ResetNeeded: the environment has not been reset yet.
        """
        if self._screen is None:
            gym.logger.warn(
                "`env.render()` does nothing without a render mode; give one when making the environment, for "
                'example `gym.make("pamdp/Platform-v0", render_mode="rgb_array")`.'
            )
            return None
        if not self._has_reset:
            raise ResetNeeded("Cannot call `env.render()` before calling `env.reset()`.")
        return self._screen.render()

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._screen is not None:
            self._screen.close()

    def _read_action(self, action: Action) -> tuple[int, list[float]]:
        """Checks an action and returns its discrete part with that part's own parameters.

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
        return k, [clip(value, low, high) for value, (low, high) in zip(values, ranges, strict=True)]


def clip(value: float, low: float, high: float) -> float:
    """Returns the nearest number in [low, high]; several times faster than NumPy and than nested `min` and `max`."""
    return low if value < low else high if value > high else value


def _box(ranges: tuple[tuple[float, float], ...]) -> spaces.Box:
    low, high = np.array(ranges, dtype=np.float32).T
    return spaces.Box(low, high)
