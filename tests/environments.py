"""Small environments whose right answers are known, for the tests of the agents."""

import gymnasium as gym
import numpy as np


class Target(gym.Env):
    """One-step episodes. Reward 1 − |x − 0.5| for action 1, 0.2 for the others: the best is (1, 0.5), worth 1."""

    observation_space = gym.spaces.Box(-1, 1, (2,))

    def __init__(self):
        boxes = [gym.spaces.Box(-1, 1, (size,)) for size in (1, 1, 2)]
        self.action_space = gym.spaces.Tuple((gym.spaces.Discrete(3), gym.spaces.Tuple(boxes)))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype("f"), {}

    def step(self, action):
        k, parameters = action
        reward = 1 - abs(float(parameters[1][0]) - 0.5) if k == 1 else 0.2
        return self.np_random.uniform(-1, 1, 2).astype("f"), reward, True, False, {"is_success": k == 1}


class Corridor(gym.Env):
    """Counts its own steps; ends after ``length`` of them, by termination or by truncation."""

    observation_space = gym.spaces.Box(0, 100, (1,))
    action_space = gym.spaces.Tuple((gym.spaces.Discrete(1), gym.spaces.Tuple([gym.spaces.Box(-1, 1, (1,))])))

    def __init__(self, length=5, truncate=False, broken_step=None, broken="reward"):
        self.length, self.truncate, self.broken_step, self.broken = length, truncate, broken_step, broken
        self.position = self.total = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = 0
        return np.zeros(1, "f"), {}

    def step(self, action):
        self.position += 1
        self.total += 1
        broken = self.broken if self.total == self.broken_step else None
        observation = np.full(1, np.nan if broken == "observation" else self.position, "f")
        reward = float("nan") if broken == "reward" else 1.0
        ended = self.position == self.length
        return observation, reward, ended and not self.truncate, ended and self.truncate, {}
