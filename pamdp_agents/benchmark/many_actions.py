"""An environment with as many discrete actions as asked for, two parameters each."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

PARAMETERS = 2  # of each discrete action

N_OBSERVATIONS = 10

EPISODE_STEPS = 20

ENV_ID = "benchmark/ManyActions-v0"


class ManyActions(gym.Env):
    """Aim with one of K actions: the reward is 0 at the point that the observation begins with, less elsewhere.

    The observation is uniform in [−1, 1]^10 and new in every step; episodes are truncated after 20 steps.

    Args:
        n_actions: K.
    """

    def __init__(self, n_actions: int = 3):
        self.observation_space = spaces.Box(-1.0, 1.0, (N_OBSERVATIONS,), np.float32)
        boxes = [spaces.Box(-1.0, 1.0, (PARAMETERS,), np.float32) for _ in range(n_actions)]
        self.action_space = spaces.Tuple((spaces.Discrete(n_actions), spaces.Tuple(boxes)))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the first observation of a new episode."""
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action: tuple[int, Any]) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Returns what Gymnasium's `step` returns."""
        k, parameters = action
        reward = -float(np.abs(parameters[k] - self._target).sum())
        return self._draw(), reward, False, False, {}

    def _draw(self) -> np.ndarray:
        observation = self.np_random.uniform(-1.0, 1.0, N_OBSERVATIONS).astype(np.float32)
        self._target = observation[:PARAMETERS]
        return observation


gym.register(ENV_ID, f"{__name__}:ManyActions", max_episode_steps=EPISODE_STEPS)
