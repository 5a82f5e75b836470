"""Wrappers that change how an environment's parameterised actions are laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import ArrayLike, NDArray

from pamdp_agents.spaces.parameterized import ParameterizedActionSpace


class _ParameterizedActionWrapper(gym.ActionWrapper[Any, Any, Any], gym.utils.RecordConstructorArgs):
    """What both wrappers share: the wrapped environment's action space, read as a parameterised one."""

    def __init__(
        self,
        env: gym.Env[Any, Any],
        parameter_sizes: Sequence[int] | None = None,
        parameter_mask: ArrayLike | None = None,
    ) -> None:
        # As plain lists: an environment's spec is compared with == and written as JSON.
        gym.utils.RecordConstructorArgs.__init__(
            self,
            parameter_sizes=None if parameter_sizes is None else [int(size) for size in parameter_sizes],
            parameter_mask=None if parameter_mask is None else np.asarray(parameter_mask).tolist(),
        )
        gym.ActionWrapper.__init__(self, env)
        self._inner = ParameterizedActionSpace(env.action_space, parameter_sizes, parameter_mask)
        self.action_space = self._presented()

    def _presented(self) -> gym.Space[Any]:
        """Returns the action space that the wrapper presents."""
        raise NotImplementedError(f"{type(self).__name__} must define _presented()")


class HybridActionWrapper(_ParameterizedActionWrapper):
    """Presents any parameterised action space as `Tuple(Discrete(K), Tuple(Box × K))`.

    The boxes are 1-D float32, the k-th holds the parameters of discrete action k in the environment's units. Where
    `parameter_mask` gives a coordinate to several actions, there is one Box for all, and the space is a
    `pamdp_agents.spaces.SharedParameters`: a `Tuple(Discrete(K), Box)` that knows the mask, so that agents have each
    shared parameter once. `ParameterizedActionSpace` says which layouts are understood and what the arguments mean;
    needed is one of them where the space does not tell whose the boxes are.

    Args:
        env: The environment.
        parameter_sizes: K sizes, the number of consecutive coordinates of the Box that each action owns.
        parameter_mask: bool [K, D], which of the Box's D coordinates each discrete action uses.

    Raises:
        TypeError: The environment's action space is not a parameterised one.
        ValueError: It is unbounded, the arguments do not fit it, or it needs one of them.
    """

    def _presented(self) -> gym.Space[Any]:
        self._outer = ParameterizedActionSpace(self._inner.canonical_space)
        return self._outer.space

    def action(self, action: tuple[int, Any]) -> Any:
        """Returns the wrapped environment's action for `(k, (x_0, …, x_{K−1}))`, or `(k, x)` of shared parameters.

        The coordinates that action k does not use are in the middle of their range, if there is a `parameter_mask`.

        Raises:
            ValueError: `action` is not in `action_space`.
        """
        return self._inner.compose(*self._outer.decompose(action))

    def reverse_action(self, action: Any) -> tuple[int, Any]:
        """Returns the action of `action_space` for one of the wrapped environment's.

        Parameters that the wrapped environment's action does not carry are in the middle of their range.

        Raises:
            ValueError: `action` is not in the wrapped environment's action space.
        """
        return self._outer.compose(*self._inner.decompose(action))


class FlattenHybridAction(_ParameterizedActionWrapper):
    """Presents any parameterised action space as one Box, for agents that know no other, such as SB3's.

    The Box has K + P components in [−1, 1]: a score for each discrete action, of which the highest is taken
    (the first of equals), then all parameters, scaled. It is the usual baseline for P-DQN and its kin: PPO,
    SAC or TD3 learn the scores as if they were continuous actions.

    Args:
        env: The environment.
        parameter_sizes: K sizes, the number of consecutive coordinates of the Box that each action owns.
        parameter_mask: bool [K, D], which of the Box's D coordinates each discrete action uses.

    Raises:
        TypeError: The environment's action space is not a parameterised one.
        ValueError: It is unbounded, the arguments do not fit it, or it needs one of them.
    """

    def _presented(self) -> gym.Space[Any]:
        return Box(-1.0, 1.0, (self._inner.n + self._inner.parameter_size,), np.float32)

    def action(self, action: ArrayLike) -> Any:
        """Returns the wrapped environment's action for K scores and P scaled parameters, float [K + P].

        Parameters outside [−1, 1] are clipped.

        Raises:
            ValueError: The shape is wrong or a component is NaN.
        """
        flat = np.asarray(action, dtype=np.float64)
        n, size = self._inner.n, self._inner.parameter_size
        if flat.shape != (n + size,):
            raise ValueError(
                f"The action must have shape ({n + size},), {n} scores and {size} parameters; got shape {flat.shape}."
            )
        if np.isnan(flat).any():
            raise ValueError(f"The action holds NaN, perhaps from an agent that has diverged: {flat}.")
        return self._inner.to_env(int(flat[:n].argmax()), flat[n:])

    def reverse_action(self, action: Any) -> NDArray[np.float32]:
        """Returns the flat action, float32 [K + P], for one of the wrapped environment's.

        The discrete action taken scores 1, the others −1. Parameters that the action does not carry are 0.

        Raises:
            ValueError: `action` is not in the wrapped environment's action space.
        """
        k, x = self._inner.from_env(action)
        scores = np.full(self._inner.n, -1.0, dtype=np.float32)
        scores[k] = 1.0
        return np.concatenate([scores, x])
