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
    """Counts its own steps; ends after `length` of them, by termination or by truncation."""

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


class Numbered(gym.Env):
    """Observes (label, episode, t), so that every transition tells where it belongs; pays label + t.

    Episode e lasts `length + e % 2` steps and ends by termination, or by truncation if e is odd. The same as a Dict
    with `as_dict`.
    """

    action_space = Target().action_space

    def __init__(self, label=0, length=3, as_dict=False):
        self.label, self.length, self.as_dict, self.episode = label, length, as_dict, -1
        parts = {"label": gym.spaces.Box(0, 1000, (1,), np.float64), "place": gym.spaces.Box(0, 1000, (2,))}
        self.observation_space = gym.spaces.Dict(parts) if as_dict else gym.spaces.Box(0, 1000, (3,), np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        ended, odd = self.t == self.length + self.episode % 2, self.episode % 2 == 1
        return self.observe(), float(self.label + self.t), ended and not odd, ended and odd, {"is_success": ended}

    def observe(self):
        label, place = np.array([self.label], float), np.array([self.episode, self.t], float)
        return {"label": label, "place": place.astype("f")} if self.as_dict else np.concatenate([label, place])


class Film(Numbered):
    """`Numbered` whose observations are small images, no two of which are the same in one environment."""

    def __init__(self, label=0, length=3, as_dict=False):
        super().__init__(label, length, as_dict)
        image = gym.spaces.Box(0, 255, (2, 3), np.uint8)
        place = {"place": gym.spaces.Box(0, 1000, (2,))}
        self.observation_space = gym.spaces.Dict(place | {"image": image}) if as_dict else image

    def observe(self):
        numbers = [self.label, self.episode % 256, self.t]
        image = np.array([numbers, [255 - number for number in numbers]], np.uint8)
        return {"image": image, "place": np.array([self.episode, self.t], "f")} if self.as_dict else image


class Pictures(gym.Env):
    """One-step episodes. A picture is bright on side k, 0 or 1: reward 1 − |x_k − 0.5| for that k, 0 for the other.

    With `turned`, observations are dicts of the picture and a number; where that is 1, the other side is rewarded.
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


class Lives(gym.Wrapper):
    """A `Corridor` that says done at every second step, and goes on at the reset that follows, unless it is over."""

    over = True

    def reset(self, **kwargs):
        return super().reset(**kwargs) if self.over else (self.last, {})

    def step(self, action):
        self.last, reward, terminated, truncated, info = super().step(action)
        self.over = terminated or truncated
        return self.last, reward, terminated or self.unwrapped.position % 2 == 0, truncated, info


class Gates(gym.Env):
    """Forbids some of three discrete actions at every step; the observation, 0 or 1 for each, says which are allowed.

    Taking a forbidden one is an error, unless the environment is `forgiving`. Pays 1 for the highest allowed. Episodes
    end by termination, when nothing is allowed any more, or by truncation, in turn.

    Args:
        where: `"method"`, `"info"` or `"both"`: where masks are.
        forgiving: Whether forbidden actions are taken.
    """

    observation_space = gym.spaces.Box(0, 1, (3,))
    action_space = Target().action_space

    def __init__(self, where="method", forgiving=False):
        self.where, self.forgiving, self.episode = where, forgiving, -1
        if where != "info":
            self.action_masks = self.current_masks

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.t = self.episode + 1, 0
        return self.change()

    def step(self, action):
        assert self.mask.any(), "the episode is over"
        assert self.forgiving or self.mask[action[0]], f"{action[0]} is forbidden"
        reward = float(action[0] == np.flatnonzero(self.mask).max())
        self.t += 1
        ended, odd = self.t == 5, self.episode % 2 == 1
        observation, info = self.change(nothing=ended and not odd)
        return observation, reward, ended and not odd, ended and odd, info

    def change(self, nothing=False):
        self.mask = self.np_random.random(3) < 0.5
        self.mask[self.np_random.integers(3)] = True
        self.mask &= not nothing
        return self.mask.astype("f"), {} if self.where == "method" else {"action_mask": self.mask.copy()}

    def current_masks(self):
        return self.mask.copy()
