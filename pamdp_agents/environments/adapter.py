"""Three kinds of environments behind one interface: Gymnasium's, its vector environments, and Stable-Baselines3's.

Training and evaluation step n environments at once and ask of each step: what was played, how did it end, what comes
next. The kinds differ in when an environment whose episode has ended is reset, and in where its last observation is:

* one Gymnasium environment: reset by `reset_ended`; the step returns the last observation;
* a Gymnasium vector environment, by its `AutoresetMode`: `NEXT_STEP` resets in the next step, which plays nothing;
  `SAME_STEP` within the step, the last observation is in `infos["final_obs"]`; `DISABLED`: by
  `reset_ended`;
* Stable-Baselines3's `VecEnv`: within the step, the last observation is in `info["terminal_observation"]`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, TypeAlias

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from pamdp_agents.spaces.observations import ObservationTransform
from pamdp_agents.spaces.parameterized import ParameterizedActionSpace

Environment: TypeAlias = Any
"""A Gymnasium environment, a Gymnasium vector environment, or a Stable-Baselines3 `VecEnv`."""


class StepOutcome(NamedTuple):
    """What one step of n environments gave.

    Attributes:
        observations: As the environment gave them.
        final_observations: For those environments whose episode ended and whose place in `observations` is already
            taken by the next episode's first: their last observation.
        rewards: float64 [n].
        terminated: Whether the episode really ended, bool [n].
        truncated: Whether it was cut off, bool [n].
        played: False where the step was only a reset, bool [n].
        infos: n dicts.
    """

    observations: Any
    final_observations: dict[int, Any]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    played: NDArray[np.bool_]
    infos: list[dict[str, Any]]


class EnvironmentAdapter(ABC):
    """n environments, n = `num_envs`.

    Attributes:
        env: The environment itself.
        num_envs: n.
        is_vector: Whether observations are n stacked ones, not a single one.
        resets_in_next_step: Whether the step after an episode's end only resets.
        episode_starts: Whether the current observation is an episode's first, bool [n].
        pending_resets: Whether the next step will only be a reset, bool [n].
    """

    is_vector = True
    resets_in_next_step = False
    _is_async = False
    episode_starts: NDArray[np.bool_]

    def __init__(self, env: Any, num_envs: int) -> None:
        self.env, self.num_envs = env, num_envs
        self._all = np.ones(num_envs, dtype=bool)
        self.pending_resets = ~self._all

    @property
    def observation_space(self) -> gym.Space:
        """One environment's observation space."""
        return self.env.observation_space

    @property
    def action_space(self) -> gym.Space:
        """One environment's action space."""
        return self.env.action_space

    @property
    @abstractmethod
    def name(self) -> str:
        """The environment's id, or its class."""

    @abstractmethod
    def reset(self, seed: int | None) -> Any:
        """Starts n new episodes; returns their first observations."""

    @abstractmethod
    def start_step(self, actions: Any) -> None:
        """Starts a step; where environments run in other processes, they are at it from now on.

        Args:
            actions: A list of n, or whatever the environment's own `step` takes.
        """

    @abstractmethod
    def finish_step(self) -> StepOutcome:
        """Returns what the step gave that was started."""

    def _send(self, actions: Any) -> None:
        """Hands over what the environment's own step takes; in other processes, the step begins."""
        self._sent = actions
        if self._is_async:
            self.env.step_async(actions)

    def _receive(self) -> Any:
        """Returns what the environment's own step returns."""
        return self.env.step_wait() if self._is_async else self.env.step(self._sent)

    def step(self, actions: Any) -> StepOutcome:
        """Starts a step and waits for it."""
        self.start_step(actions)
        return self.finish_step()

    def reset_ended(self) -> Any | None:
        """Starts new episodes in place of those that the last step ended, if the environment does not do so itself.

        Returns:
            All current observations, or None if nothing was done.
        """
        return None

    def compose(self, actions: ParameterizedActionSpace, k: NDArray, x: NDArray) -> Any:
        """Returns canonical actions (k [n], x [n, P]) as `step` takes them."""
        return actions.to_env_batch(k, x)

    def transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        """Returns the environment's observations as float32 [n, D]."""
        return observations.batch(given)

    def stack(self, given: Any) -> Any:
        """Returns the environment's observations stacked, n of them."""
        return given
