"""Agents of spaces without parameters: they are saved, loaded and trained on."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, OneOf, Tuple
from small_agents import those_of

from pamdp_agents import agent_class
from pamdp_agents.agents import AGENTS

SPACES = {
    "discrete": Discrete(4),
    "empty boxes": Tuple((Discrete(2), Tuple([Box(0, 1, (0,))] * 2))),
    "one of": OneOf([Discrete(1), Discrete(1)]),
}


class Coin(gym.Env):
    """Ends with one chance in ten."""

    observation_space = Box(-1, 1, (3,))

    def __init__(self, action_space):
        self.action_space = action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, "f"), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.full(3, 0.1, "f"), 1.0, bool(self.np_random.random() < 0.1), False, {}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_without_parameters_comes_back_from_its_file_and_goes_on(name, space, tmp_path):
    cls = agent_class(name)
    settings = those_of(cls, {"learning_starts": 5, "n_steps": 5, "batch_size": 5})
    agent = cls("MlpPolicy", Coin(SPACES[space]), seed=0, **settings).learn(10)
    agent.save(tmp_path / "agent", include=cls.saved_apart)
    loaded = cls.load(tmp_path / "agent", env=Coin(SPACES[space]))
    observation = np.full(3, 0.1, "f")
    actions = [each.predict(observation, deterministic=True)[0] for each in (agent, loaded)]
    assert str(actions[0]) == str(actions[1])
    assert loaded.learn(5, reset_num_timesteps=False).num_timesteps == 15
