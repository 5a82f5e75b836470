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


class Pictures(gym.Env):
    """One-step episodes. A picture is bright on side k, 0 or 1: reward 1 − |x_k − 0.5| for that k, 0 for the other.

    With ``turned``, observations are dicts of the picture and a number; where that is 1, the other side is rewarded.
    """

    action_space = gym.spaces.Tuple((gym.spaces.Discrete(2), gym.spaces.Tuple([gym.spaces.Box(-1, 1, (1,))] * 2)))

    def __init__(self, shape=(36, 36, 1), turned=False):
        self.shape, self.turned = shape, turned
        picture = gym.spaces.Box(0, 255, shape, np.uint8)
        both = {"picture": picture, "turned": gym.spaces.Box(0, 1, (1,))}
        self.observation_space = gym.spaces.Dict(both) if turned else picture

    def observation(self, side, turned=0):
        """The observation with the bright side 0 (left) or 1 (right)."""
        picture = np.zeros(self.shape, np.uint8)
        half = self.shape[1] // 2
        picture[:, side * half : (side + 1) * half] = 200
        return {"picture": picture, "turned": np.array([turned], "f")} if self.turned else picture

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        side, turned = (int(number) for number in self.np_random.integers(2, size=2))
        self.rewarded = side ^ turned if self.turned else side
        return self.observation(side, turned), {}

    def step(self, action):
        k, parameters = action
        reward = 1 - abs(float(parameters[k][0]) - 0.5) if k == self.rewarded else 0.0
        return self.observation(0), reward, True, False, {}
