"""Small agents and small environments, so that every agent can be tried in everything within seconds."""

import copy
import inspect

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

PLATFORM = "pamdp/Platform-v0"
STEPS = 48  # a multiple of every rollout's length below, in one environment and in three
SMALL = {
    "policy_kwargs": {"net_arch": [8]},
    "learning_starts": 10,
    "batch_size": 8,
    "buffer_size": 200,
    "train_freq": 1,
    "gradient_steps": 1,
    "n_steps": 8,
    "n_epochs": 2,
    "initial_action_episodes": 1,
    "action_episodes": 1,
    "parameter_updates": 1,
    "n_rollouts": 2,
    "seed": 0,
}
OF_ONE = {"QPAMDP": {"policy_kwargs": {"fourier_order": 1, "fourier_interactions": 1}}}
"""Settings of SMALL that are others for one agent."""
ONE_ENVIRONMENT = ("QPAMDP",)
"""The agents that need one environment, and say so."""

VECTOR = Box(-1, 1, (3,))
DICT = Dict({"a": Box(-1, 1, (2,)), "b": Box(0, 5, (1,))})
PARAMETERS = Tuple((Discrete(2), Tuple((Box(-1, 1, (2,)), Box(0, 10, (1,))))))


class Task(gym.Env):
    """Random observations of any space; the smaller an action's numbers, the better. Episodes last 7 steps.

    Every second episode is cut off. `made` counts the steps.
    """

    def __init__(self, observation_space=VECTOR, action_space=PARAMETERS):
        self.observation_space, self.action_space = copy.deepcopy((observation_space, action_space))
        self.made = self.episode = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.episode = 0, self.episode + 1
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        self.made, self.t = self.made + 1, self.t + 1
        ended, cut_off = self.t == 7, self.episode % 2 == 0
        reward = -float(np.abs(gym.spaces.flatten(self.action_space, action)).mean())
        return self.observe(), reward, ended and not cut_off, ended and cut_off, {}

    def observe(self):
        flat = gym.spaces.flatten_space(self.observation_space)
        return gym.spaces.unflatten(self.observation_space, self.np_random.uniform(flat.low, flat.high))


class Counting(gym.Wrapper):
    """Counts the steps that an environment makes; a reset is none."""

    made = 0

    def step(self, action):
        self.made += 1
        return super().step(action)


def those_of(agent_class, settings):
    """Those of the settings that the agent has."""
    return {name: value for name, value in settings.items() if name in inspect.signature(agent_class).parameters}


def small_of(agent_class):
    """Those of SMALL's settings that the agent has, as they are for it."""
    small = those_of(agent_class, SMALL | OF_ONE.get(agent_class.__name__, {}))
    if "buffer_size" in small:  # n_steps is not the length of a rollout, but that of returns
        del small["n_steps"]
    return small


def refuses_several(agent_class, env):
    """Whether the agent is of those that need one environment; checks that it refuses these, and says why."""
    if agent_class.__name__ not in ONE_ENVIRONMENT:
        return False
    with pytest.raises(ValueError, match=rf"env has \d environments, but {agent_class.__name__} needs one: "):
        make(agent_class, env)
    return True


def make(agent_class, env, policy="MlpPolicy", **settings):
    """A small agent."""
    return agent_class(policy, env, **copy.deepcopy(small_of(agent_class) | settings))


def make_collector(agent_class, env, policy="MlpPolicy", **settings):
    """A small agent that makes no updates, if it has a say in that: what comes before them needs no compiling."""
    return make(agent_class, env, policy, **those_of(agent_class, {"learning_starts": 1000}) | settings)


def differences(one, other):
    """Where two results of `get_parameters` differ in any bit; [] if nowhere."""
    assert one.keys() == other.keys() and one
    return [
        f"{group}: {name}"
        for group, weights in one.items()
        for name in weights.keys() | other[group].keys()
        if weights[name].tobytes() != other[group][name].tobytes()
    ]


def assert_learned(agent, before):
    """The weights have changed and are numbers."""
    after = agent.get_parameters()
    assert differences(before, after)
    for group, weights in after.items():
        assert all(np.isfinite(value).all() for value in weights.values()), group


def observations(env, n=50):
    """Observations of the whole space, [n, …] of a Box's."""
    space = copy.deepcopy(env.observation_space)
    space.seed(0)
    return np.stack([space.sample() for _ in range(n)])


def numbers(action):
    """An action of `Tuple(Discrete, Tuple(Box, …))` as one array, [1 + P]."""
    return np.concatenate([[action[0]], *action[1]])
