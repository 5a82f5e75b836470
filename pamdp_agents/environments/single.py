"""One Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from pamdp_agents.environments.adapter import EnvironmentAdapter, StepOutcome
from pamdp_agents.spaces.observations import ObservationTransform


class SingleEnvironment(EnvironmentAdapter):
    """One Gymnasium environment."""

    is_vector = False

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env, 1)

    @property
    def name(self) -> str:
        """The environment's id, or its class."""
        return self.env.spec.id if self.env.spec else type(self.env.unwrapped).__name__

    def reset(self, seed: int | None) -> Any:
        """Starts a new episode; returns its first observation.

        Raises:
            TypeError: The environment's reset does not take a seed or does not return (observation, info).
        """
        self.episode_starts = self._all
        try:
            result = self.env.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error):
                raise
            raise TypeError(f"environment {self.name}: reset(seed=...) must take a seed ({error}); {UPDATE}") from error
        if not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(
                f"environment {self.name}: reset must return (observation, info), it returned {result!r}; {UPDATE}"
            )
        return result[0]

    def start_step(self, actions: Sequence[Any]) -> None:
        """Takes one action in a list."""
        [action] = actions
        self._send(action)

    def finish_step(self) -> StepOutcome:
        """Returns what the step gave.

        Raises:
            TypeError: The environment's step does not return Gymnasium's five values, or the reward is None.
        """
        result = self._receive()
        has_five = isinstance(result, tuple) and len(result) == 5
        if not has_five or result[1] is None or not isinstance(result[4], dict):
            raise TypeError(
                f"environment {self.name}: step must return (observation, reward, terminated, truncated, info), it "
                f"returned {result!r}; {UPDATE}"
            )
        observation, reward, terminated, truncated, info = result
        rewards = np.array([reward], dtype=np.float64)
        ended, cut = np.array([bool(terminated)]), np.array([bool(truncated)])
        self.episode_starts = ended | cut
        return StepOutcome(observation, {}, rewards, ended, cut, self._all, [info])

    def reset_ended(self) -> Any | None:
        """Starts a new episode if the last one ended; returns its first observation, else None."""
        return self.reset(None) if self.episode_starts[0] else None

    def transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        """Returns the observation as float32 [1, D]."""
        return observations(given)[None]

    def stack(self, given: Any) -> Any:
        """Returns a batch of the one observation."""
        return stack_one(self.observation_space, given)


def stack_one(space: gym.Space, value: Any) -> Any:
    """Returns one element of a space as vector environments stack n of them."""
    if isinstance(space, gym.spaces.Box):  # the quick way to the same
        return np.asarray(value, space.dtype)[None]
    empty: Any = create_empty_array(space, n=1)
    return concatenate(space, [value], empty)


UPDATE = "update the environment to Gymnasium's interface of version 1.0, or wrap it"
