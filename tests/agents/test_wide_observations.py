"""Bounds of observations that say nothing of their values: learned as if there were none, or warned of."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, Tuple

from pamdp_agents import MPDQN

SETTINGS = {"learning_starts": 100, "batch_size": 16, "buffer_size": 500, "policy_kwargs": {"net_arch": [8]}, "seed": 0}


class Sign(gym.Env):
    """Observes −1 or 1, within bounds of ±limit."""

    action_space = Tuple((Discrete(2), Tuple((Box(-1.0, 1.0, (1,)), Box(-1.0, 1.0, (1,))))))

    def __init__(self, limit):
        self.observation_space = Box(-limit, limit, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sign = float(self.np_random.choice([-1.0, 1.0]))
        return np.array([self.sign], np.float32), {}

    def step(self, action):
        return np.array([self.sign], np.float32), self.sign if action[0] == 0 else -self.sign, True, False, {}


def warned(agent, steps):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        agent.learn(steps, reset_num_timesteps=False)
    return [str(each.message) for each in caught if "of the observation" in str(each.message)]


def test_bounds_in_which_what_is_observed_vanishes_are_warned_of_once_when_updates_begin():
    agent = MPDQN("MlpPolicy", Sign(1e4), **SETTINGS)
    assert not warned(agent, 100)
    [message] = warned(agent, 30)
    assert "observation[0] has the bounds -10000 and 10000" in message and "between -1 and 1" in message
    assert not warned(agent, 30)


@pytest.mark.parametrize("limit", [1.0, 100.0, 1e7, 1e10, np.inf])
def test_other_bounds_are_not_warned_of(limit):
    assert not warned(MPDQN("MlpPolicy", Sign(limit), **SETTINGS), 130)


def test_bounds_that_mean_none_train_as_infinite_ones_bit_for_bit():
    wide, infinite = (MPDQN("MlpPolicy", Sign(limit), **SETTINGS).learn(130) for limit in (1e10, np.inf))
    for group, weights in infinite.get_parameters().items():
        for name, values in weights.items():
            np.testing.assert_array_equal(wide.get_parameters()[group][name], values)


def test_a_file_says_how_it_scales(tmp_path):
    agent = MPDQN("MlpPolicy", Sign(1e7), **SETTINGS)
    agent.save(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent").observation_transform(np.array([1.0], "f")).tolist() == [1.0]
    agent.widest_range = None  # as older files are read
    agent.set_up(agent.observation_space, agent.action_space)
    agent.save(tmp_path / "older")
    older = MPDQN.load(tmp_path / "older", env=Sign(1e7))
    np.testing.assert_allclose(older.observation_transform(np.array([1e6], "f")), [0.1], rtol=1e-6)
    assert warned(older, 130)
