"""What the bundled vector environments share: batched actions, seeds, time limits and autoreset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pamdp_envs.common.draws import Array, Draws
from pamdp_envs.common.env import ParameterizedEnv

# Of each environment that stepped: rewards, terminations, truncations, and arrays of what `info` holds.
SimulatedStep = tuple[Array, Array, Array, dict[str, Array]]


class ParameterizedVectorEnv(VectorEnv[Array, Any, Array]):
    """n independent environments, each like the scalar one, stepped together in NumPy.

    Args:
        single: a scalar environment, whose spaces and actions the vector environment has n times.
        num_envs: number of environments n, at least 1.
        max_episode_steps: truncate an episode after this many steps; None or -1 for no limit.
        render_mode: must be None.
        autoreset_mode: a `gymnasium.vector.AutoresetMode` or its value.
        draw: the method of `numpy.random.Generator` with which the environment draws.

    Raises:
        ValueError: an argument is not as described.
    """

    def __init__(
        self,
        single: ParameterizedEnv,
        num_envs: int,
        max_episode_steps: int | None,
        render_mode: str | None,
        autoreset_mode: str | AutoresetMode,
        draw: Literal["standard_normal", "random"],
    ) -> None:
        if render_mode is not None:
            raise ValueError(
                f"render_mode must be None, for {type(self).__name__} does not render; got {render_mode!r}. Make the "
                'environments with `gym.make_vec(..., vectorization_mode="sync")` to render them.'
            )
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1; got {num_envs!r}.")
        if max_episode_steps is not None and max_episode_steps != -1 and max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be None, -1 or at least 1; got {max_episode_steps!r}.")
        self.num_envs = num_envs
        self.max_episode_steps = None if max_episode_steps == -1 else max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.single_action_space = single.action_space
        self.action_space = batch_space(single.action_space, num_envs)
        self.single_observation_space = single.observation_space
        self.observation_space = batch_space(single.observation_space, num_envs)
        self._action_names, self._ranges = single._action_names, single._ranges
        self._draws = Draws(num_envs, draw)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)  # steps of the running episodes
        self._ended = np.zeros(num_envs, dtype=np.bool_)  # the environments that have to be reset before they step
        self._has_reset = False

    @property
    def np_random_seed(self) -> Any:
        """Tuple of the environments' seeds, -1 before the first reset."""
        return tuple(self._draws.seeds)

    def _restart(self, envs: Array) -> None:
        """Starts a new episode in each of `envs`, distinct indices of shape (m,)."""
        raise NotImplementedError

    def _simulate(self, envs: Array, k: Array, parameters: Array) -> SimulatedStep:
        """Steps each of `envs`, of shape (m,), by action `k` (m,) with its `parameters` (m, the most of any action)."""
        raise NotImplementedError

    def _observe(self, envs: Array) -> Array:
        """Returns a new array of the observations of `envs`, of shape (m, observation size)."""
        raise NotImplementedError

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Starts a new episode in every environment, or in those of a mask.

        Args:
            seed: an int seeds environment i with `seed + i`; a sequence holds a seed or None for each
                environment; with None the random sequences go on (or start anywhere).
            options: `{"reset_mask": mask}`, a bool array of shape (n,), resets the environments where it is True.

        Returns:
            The observations of all environments, and an empty dictionary.

        Raises:
            ResetNeeded: the first reset is not one of all environments.
            TypeError: the mask is not a bool array.
            ValueError: there is not one seed per environment, or the mask has another shape or no True.
        """
        seeds = self._read_seeds(seed)
        envs = np.arange(self.num_envs)
        if options is not None and "reset_mask" in options:
            envs = envs[self._read_mask(options["reset_mask"])]
        if not self._has_reset and len(envs) < self.num_envs:
            raise ResetNeeded("The first `reset` must be one of all environments, without a `reset_mask`.")
        self._draws.seed(envs, seeds)
        self._has_reset = True
        self._begin(envs)
        return self._observe(np.arange(self.num_envs)), {}

    def step(self, actions: Any) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Acts in every environment, except in those that the autoreset mode has reset instead.

        Args:
            actions: an element of `action_space`: (k, parameters), the discrete actions k as integers of shape
                (n,) and one array of parameters of shape (n, m_k) for each discrete action. Only the parameters
                of actions taken are read.

        Returns:
            Observations (n, size) float64, rewards (n,) float64, terminations and truncations (n,) bool, and
            infos, all as Gymnasium's `SyncVectorEnv` returns them.

        Raises:
            ResetNeeded: there was no reset yet, or an episode has ended and autoreset is disabled.
            ValueError: the actions are not as described, or a parameter is NaN.
        """
        if not self._has_reset:
            raise ResetNeeded("Cannot call `env.step()` before calling `env.reset()`.")
        mode = self.autoreset_mode.name
        if mode == "DISABLED" and self._ended.any():
            raise ResetNeeded(
                f"The episodes of environments {np.flatnonzero(self._ended).tolist()} have ended: with autoreset "
                'disabled, call `env.reset(options={"reset_mask": terminations | truncations})` before the next step.'
            )
        envs = np.flatnonzero(~self._ended)
        k, parameters = self._read_actions(actions, envs)
        self._begin(np.flatnonzero(self._ended))
        rewards = np.zeros(self.num_envs)
        terminations, truncations = np.zeros((2, self.num_envs), dtype=np.bool_)
        infos: dict[str, Any] = {}
        if len(envs):
            self._elapsed[envs] += 1
            rewards[envs], terminations[envs], truncations[envs], info = self._simulate(envs, k, parameters)
            if self.max_episode_steps is not None:
                truncations[envs] |= self._elapsed[envs] >= self.max_episode_steps
            infos = self._batch_info(envs, info)
        observations = self._observe(np.arange(self.num_envs))
        self._ended = terminations | truncations
        if mode == "SAME_STEP" and self._ended.any():
            infos = self._final_infos(observations, info)
            ended = np.flatnonzero(self._ended)
            self._begin(ended)
            observations[ended] = self._observe(ended)
        return observations, rewards, terminations, truncations, infos

    def _begin(self, envs: Array) -> None:
        """Starts a new episode in each of `envs`."""
        self._elapsed[envs] = 0
        self._ended[envs] = False
        if len(envs):
            self._restart(envs)

    def _batch_info(self, envs: Array, info: dict[str, Array]) -> dict[str, Any]:
        """Returns Gymnasium's batched infos of `envs`: of each key all environments' values, and a mask `_key`."""
        infos = {}
        if len(envs):
            for key, values in info.items():
                infos[key] = np.zeros(self.num_envs, dtype=values.dtype)
                infos[key][envs] = values
                infos[f"_{key}"] = np.zeros(self.num_envs, dtype=np.bool_)
                infos[f"_{key}"][envs] = True
        return infos

    def _final_infos(self, observations: Array, info: dict[str, Array]) -> dict[str, Any]:
        """Returns the infos of a step in which episodes ended and are reset; `info` is of all environments."""
        ended = self._ended.copy()
        final_obs = np.full(self.num_envs, None, dtype=object)
        for env in np.flatnonzero(ended):
            final_obs[env] = observations[env].copy()
        final_info = self._batch_info(np.flatnonzero(ended), {key: values[ended] for key, values in info.items()})
        others = self._batch_info(np.flatnonzero(~ended), {key: values[~ended] for key, values in info.items()})
        finals = {"final_obs": final_obs, "_final_obs": ended, "final_info": final_info, "_final_info": ended.copy()}
        return finals | others

    def _read_seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + env for env in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"seed must hold one seed for each of the {self.num_envs} environments; got {seed!r}.")
        return seed

    def _read_mask(self, mask: Any) -> Array:
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a NumPy array of bool; got {mask!r}.")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and at least one True; got {mask!r}."
            )
        return mask

    def _read_actions(self, actions: Any, envs: Array) -> tuple[Array, Array]:
        """Checks the actions of `envs`; returns theirs, (m,), and the taken actions' clipped parameters, (m, most)."""
        try:
            choices, parameters = actions
        except (TypeError, ValueError):
            raise ValueError(
                f"actions must be a pair (k, parameters), as `action_space.sample()` returns; got {actions!r}."
            ) from None
        choices, count = np.asarray(choices), len(self._ranges)
        names = ", ".join(f"{i} ({name})" for i, name in enumerate(self._action_names))
        if choices.shape != (self.num_envs,) or choices.dtype.kind not in "iu":
            raise ValueError(
                f"The discrete actions must be {self.num_envs} integers, one for each environment, of {names}; got "
                f"{actions[0]!r}."
            )
        k = choices[envs]
        wrong = envs[(k < 0) | (k >= count)]
        if len(wrong):
            raise ValueError(
                f"The discrete action must be one of the integers {names}; environment {wrong[0]} got "
                f"{choices[wrong[0]]}."
            )
        if not isinstance(parameters, (Sequence, np.ndarray)) or len(parameters) != count:
            raise ValueError(
                f"parameters must be a tuple with one array for each of the {count} discrete actions (only those of "
                f"actions taken are read); got {parameters!r}."
            )
        taken = np.zeros((len(envs), max(map(len, self._ranges))))
        for action, ranges in enumerate(self._ranges):
            rows = k == action
            if rows.any():
                values = self._read_parameters(action, parameters[action], envs[rows])
                low, high = np.array(ranges).T
                taken[rows, : len(ranges)] = np.where(values < low, low, np.where(values > high, high, values))
        return k, taken

    def _read_parameters(self, k: int, parameters: Any, envs: Array) -> Array:
        """Checks the parameters of action k, which each of `envs` takes, and returns theirs, (m, m_k)."""
        shape = (self.num_envs, len(self._ranges[k]))
        try:
            values = np.asarray(parameters, dtype=np.float64)
        except (TypeError, ValueError):
            values = np.empty(0)
        if values.shape == shape and not np.isnan(values[envs]).any():
            return values[envs]
        accepted = " and ".join(f"a number in [{low:g}, {high:g}]" for low, high in self._ranges[k])
        raise ValueError(
            f"The parameters of action {k} ({self._action_names[k]}) must be an array of shape {shape}, a row for each "
            f"environment of {accepted} (numbers outside are clipped, NaN is refused); got {parameters!r}."
        )


def clip(values: Array, low: Array | float, high: Array | float) -> Array:
    """Returns the nearest numbers in [low, high]; faster than `numpy.clip`."""
    return np.minimum(np.maximum(values, low), high)
