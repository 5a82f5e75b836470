"""The agent's side of an environment: canonical actions in, scaled observations out, episodes counted and restarted."""

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
    """One Gymnasium environment, restarted when an episode ends.

    Args:
        env: The environment.
        observations: Scales its observations.
        actions: Converts its actions.

    Attributes:
        observation: The current observation, scaled, float32 [D]; None before the first reset.
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

    def reset(self) -> None:
        """Starts a new episode.

        Raises:
            TypeError: The environment's reset does not take a seed.
            ValueError: Its observation is not finite.
        """
        seed, self.next_seed = self.next_seed, None
        try:
            observation, _ = self.env.reset(seed=seed)
        except TypeError as error:
            if "seed" not in str(error) and "unpack" not in str(error):
                raise
            raise TypeError(
                f"environment {self.name}: reset(seed=...) must take a seed and return (observation, info), as in "
                f"Gymnasium 1.0 ({error}); update the environment, or wrap it"
            ) from error
        self.observation = self._finite(observation, "reset")
        self.episode_return, self.episode_length = 0.0, 0

    def resume(self, observation: np.ndarray | None, episode_return: float, episode_length: int) -> None:
        """Goes on in the middle of an episode, where the environment already stands."""
        self.observation, self.episode_return, self.episode_length = (
            observation,
            episode_return,
            episode_length,
        )
        self.next_seed = None

    def step(self, k: int, x: np.ndarray, timestep: int) -> Step:
        """Takes a canonical action; at an episode's end the next one is started.

        Args:
            k: Discrete action.
            x: Parameters of all actions, scaled to [−1, 1], float [P].
            timestep: Number of the step, for error messages.

        Raises:
            ValueError: The environment returned a reward or observation that is not finite.
        """
        action = self._actions.to_env(k, x)
        raw_observation, reward, terminated, truncated, info = self.env.step(action)
        reward = float(reward)
        if not math.isfinite(reward):
            raise ValueError(
                f"environment {self.name} returned the reward {reward} at step {timestep} for the action {action}; "
                "training stopped before it was stored, and the agent can still be saved"
            )
        observation = self._finite(raw_observation, f"step {timestep}, after the action {action},")
        self.episode_return += reward
        self.episode_length += 1
        if terminated or truncated:
            seconds = round(time.perf_counter() - self._start, 6)
            info = {"episode": {"r": self.episode_return, "l": self.episode_length, "t": seconds}, **info}
            self.reset()
        else:
            self.observation = observation
        return Step(action, raw_observation, observation, reward, bool(terminated), bool(truncated), info)

    def _finite(self, raw_observation: Any, when: str) -> np.ndarray:
        observation = self._observations(raw_observation)
        if not np.isfinite(observation).all():
            raise ValueError(
                f"environment {self.name} returned an observation that is not finite at {when}: {raw_observation}; "
                "training stopped before it was stored, and the agent can still be saved"
            )
        return observation
