"""One Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from pamdp_agents.environments.action_masks import METHOD
from pamdp_agents.environments.adapter import MUST_RETURN, EnvironmentAdapter, StepOutcome
from pamdp_agents.environments.returned import Fault, read_end, read_reward, shown
from pamdp_agents.spaces.observations import ObservationTransform


class SingleEnvironment(EnvironmentAdapter):
    """One Gymnasium environment."""

    is_vector = False

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env, 1)

    @property
    def name(self) -> str:
        """The environment's id, or its class."""
        if spec := getattr(self.env, "spec", None):
            return spec.id
        inner = getattr(self.env, "unwrapped", self.env)
        inner = getattr(inner, "gym_env", inner)  # what is in shimmy's wrapper
        return type(getattr(inner, "unwrapped", inner)).__name__

    def _reset(self, seed: int | None, **options: Any) -> Any:
        """Starts a new episode; returns its first observation.

        Raises:
            TypeError: The environment's reset does not take a seed.
            Fault: It does not return (observation, info).
        """
        self.episode_starts = self._all
        try:
            result = self.env.reset(seed=seed, **options)
        except TypeError as error:
            if "seed" not in str(error):
                raise
            raise TypeError(f"environment {self.name}: reset(seed=...) must take a seed ({error}); {UPDATE}") from error
        if not (isinstance(result, tuple) and len(result) == 2):
            hint = "" if result is None else f": that is how environments of the old gym package do it; {UPDATE}"
            raise Fault(f"returned {shown(result)}, but reset must return (observation, info){hint}", TypeError)
        observation, self.reset_info = result
        if observation is None:
            raise Fault("returned the observation None from reset", TypeError)
        self.masks.read([self.reset_info if isinstance(self.reset_info, dict) else {}])
        return observation

    def _has_action_masks(self) -> bool:
        return hasattr(self.env, "has_wrapper_attr") and self.env.has_wrapper_attr(METHOD)

    def _ask_action_masks(self) -> Sequence[Any]:
        return [self.env.get_wrapper_attr(METHOD)()]

    def _batched(self, actions: Sequence[Any]) -> Any:
        """Returns the one action in a list."""
        [action] = actions
        return action

    def _read_step(self, result: Any) -> StepOutcome:
        """Returns what the step gave."""
        if not (isinstance(result, tuple) and len(result) == 5):
            four = isinstance(result, tuple) and len(result) == 4
            hint = f": four values are those of the old gym package; {UPDATE}" if four else ""
            raise Fault(f"returned {shown(result)}, but {MUST_RETURN}{hint}", TypeError)
        observation, reward, terminated, truncated, info = result
        if not isinstance(info, dict):
            raise Fault(f"returned the info {shown(info)}, which is not a dict", TypeError)
        rewards = np.array([read_reward(reward)])
        ended, cut = np.array([read_end("terminated", terminated)]), np.array([read_end("truncated", truncated)])
        self.episode_starts = ended | cut
        self.masks.read([info])
        return StepOutcome(observation, {}, rewards, ended, cut, self._all, [info])

    def reset_ended(self) -> Any | None:
        """Starts a new episode if the last one ended; returns its first observation, else None."""
        return self.reset(None) if self.episode_starts[0] else None

    def _transform(self, observations: ObservationTransform, given: Any) -> NDArray[np.float32]:
        """Returns the observation as float32 [1, D]."""
        return observations(given)[None]

    def stack(self, given: Any) -> Any:
        """Returns a batch of the one observation."""
        return stack_one(self.observation_space, given)


def stack_one(space: gym.Space, value: Any) -> Any:
    """Returns one element of a space as vector environments stack n of them."""
    if isinstance(space, NUMERIC):  # the quick way to the same, and whole floats are numbers here
        return np.asarray(value, space.dtype)[None]
    if isinstance(space, gym.spaces.Dict):
        return {key: stack_one(part, value[key]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(map(stack_one, space.spaces, value))
    empty: Any = create_empty_array(space, n=1)
    return concatenate(space, [value], empty)


NUMERIC = (gym.spaces.Box, gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)

UPDATE = "update the environment to Gymnasium's interface of version 1.0, or wrap it"
