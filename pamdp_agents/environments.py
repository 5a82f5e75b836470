"""The agent's side of an environment: canonical actions in, scaled and checked observations out, episodes counted."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from pamdp_agents.observations import ObservationTransform
from pamdp_agents.spaces import ParameterizedActionSpace


class Step(NamedTuple):
    """What one environment step gave.

    Attributes:
        action: The action as the environment took it.
        raw_observation: The observation as the environment gave it.
        observation: The same scaled, float32 [D]; the last of its episode if the episode ended.
        reward: The environment's reward.
        terminated: Whether the episode really ended.
        truncated: Whether it was cut off.
        info: The environment's info; at an episode's end with ``"episode"``: {"r": return, "l": length, "t": seconds}.
    """

    action: Any
    raw_observation: Any
    observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class SingleEnvironment:
    """One Gymnasium environment.

    Args:
        env: The environment.
        observations: Scales its observations.
        actions: Converts its actions.

    Attributes:
        observation: The current observation, scaled, float32 [D]; None where the next step must be a reset: before the
            first one, after an episode's end, and after a step that failed.
        episode_return: Sum of rewards of the current episode.
        episode_length: Steps of the current episode.
        next_seed: The seed of the next reset, None for none.
    """

    num_envs = 1

    def __init__(self, env: gym.Env, observations: ObservationTransform, actions: ParameterizedActionSpace):
        self.env, self._observations, self._actions = env, observations, actions
        self.name = env.spec.id if env.spec else type(env.unwrapped).__name__
        self.observation: np.ndarray | None = None
        self.episode_return, self.episode_length = 0.0, 0
        self.next_seed: int | None = None
        self._start = time.perf_counter()

    def reset(self, timestep: int) -> None:
        """Starts a new episode.

        Args:
            timestep: Number of the last step, for error messages.

        Raises:
            TypeError: The environment's reset does not take a seed or does not return (observation, info).
            ValueError: Its observation is not finite.
        """
        seed, self.next_seed = self.next_seed, None
        self.observation = None
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
        self.observation = self._finite(result[0], f"the reset after step {timestep}")
        self.episode_return, self.episode_length = 0.0, 0

    def resume(self, observation: np.ndarray | None, episode_return: float, episode_length: int) -> None:
        """Goes on in the middle of an episode, where the environment already stands."""
        self.observation, self.episode_return, self.episode_length = observation, episode_return, episode_length
        self.next_seed = None

    def step(self, k: int, x: np.ndarray, timestep: int) -> Step:
        """Takes a canonical action. At an episode's end, :meth:`reset` is the caller's next call.

        Args:
            k: Discrete action.
            x: Parameters of all actions, scaled to [−1, 1], float [P].
            timestep: Number of the step, for error messages.

        Raises:
            TypeError: The environment's step does not return Gymnasium's five values.
            ValueError: It returned a reward or observation that is not finite.
        """
        self.observation = None
        action = self._actions.to_env(k, x)
        result = self.env.step(action)
        if not (isinstance(result, tuple) and len(result) == 5 and isinstance(result[4], dict)):
            raise TypeError(
                f"environment {self.name}: step must return (observation, reward, terminated, truncated, info), it "
                f"returned {result!r}; {UPDATE}"
            )
        raw_observation, reward, terminated, truncated, info = result
        if reward is None or not math.isfinite(reward):
            raise ValueError(
                f"environment {self.name} returned the reward {reward} at step {timestep} for the action {action}; "
                f"{STOPPED}"
            )
        observation = self._finite(raw_observation, f"step {timestep}, after the action {action}")
        self.episode_return += float(reward)
        self.episode_length += 1
        if terminated or truncated:
            given = info.get("episode")
            if not (isinstance(given, dict) and {"r", "l"} <= given.keys()):  # Gymnasium's and SB3's recorders give it
                seconds = round(time.perf_counter() - self._start, 6)
                info = info | {"episode": {"r": self.episode_return, "l": self.episode_length, "t": seconds}}
        else:
            self.observation = observation
        return Step(action, raw_observation, observation, float(reward), bool(terminated), bool(truncated), info)

    def _finite(self, raw_observation: Any, when: str) -> np.ndarray:
        observation = self._observations(raw_observation)
        if not np.isfinite(observation).all():
            raise ValueError(
                f"environment {self.name} returned an observation that is not finite at {when}: {raw_observation}; "
                f"{STOPPED}"
            )
        return observation


UPDATE = "update the environment to Gymnasium's interface of version 1.0, or wrap it"
STOPPED = "training stopped before it was stored, and the agent can still be saved"
