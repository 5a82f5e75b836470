"""Every agent where actions share parameters: each parameter is one number, from the actor to the environment."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

import pamdp_agents
from pamdp_agents import MPDQN, HybridActionWrapper
from pamdp_agents.agents import AGENTS
from pamdp_agents.base.actor_critic import ActorCriticAgent
from pamdp_agents.evaluation import evaluate_policy
from pamdp_agents.spaces import SharedParameters

EVERY = [getattr(pamdp_agents, name) for name in AGENTS.values()]
every_agent = pytest.mark.parametrize("agent_class", [each for each in EVERY if issubclass(each, ActorCriticAgent)])
SMALL = {"learning_starts": 20, "batch_size": 8, "buffer_size": 500, "policy_kwargs": {"net_arch": [16]}, "seed": 0}


class Market(gym.Env):
    """Store a quantity, or sell it at a price that must not be above the market's: sell all at the market's price."""

    observation_space = Box(0.0, 1.0, (1,))
    action_space = Dict({"mode": Discrete(2), "quantity": Box(0.0, 1.0, (1,)), "price": Box(0.0, 1.0, (1,))})

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.market = float(self.np_random.uniform(0.4, 0.8))
        return np.array([self.market], np.float32), {}

    def step(self, action):
        quantity, price = float(action["quantity"][0]), float(action["price"][0])
        sold = quantity if price <= self.market else -0.1
        reward = sold if action["mode"] == 1 else 0.2 * quantity
        return np.array([self.market], np.float32), reward, True, False, {}


MASK = [[False, True], [True, True]]  # columns: price, quantity


def market():
    return HybridActionWrapper(Market(), parameter_mask=MASK)


class Actuators(gym.Env):
    """Each of 8 actuators is on or off, with a strength that counts whenever it is on."""

    observation_space = Box(-1.0, 1.0, (4,))
    action_space = Tuple((Discrete(256), Box(-1.0, 1.0, (8,))))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(4, np.float32), {}

    def step(self, action):
        return np.zeros(4, np.float32), float(action[1].sum()), False, False, {}


def test_names_that_do_not_say_whose_the_boxes_are_are_asked_about():
    with pytest.raises(ValueError, match=r"HybridActionWrapper\(env, parameter_sizes=.*parameter_mask=.*share"):
        MPDQN("MlpPolicy", Market(), **SMALL)


@every_agent
def test_parameters_of_many_actions_are_stored_and_learned_once(agent_class):
    env = HybridActionWrapper(Actuators(), parameter_mask=list(itertools.product([0, 1], repeat=8)))
    agent = agent_class("MlpPolicy", env, **SMALL).learn(30)
    assert agent.replay_buffer.layout.shapes["x"] == (8,)
    n_scores = 256 if agent_class.__name__ == "PADDPG" else 0
    assert agent.get_parameters()["actor"]["output/bias"].shape == (n_scores + 8,)
    assert agent.n_updates if hasattr(agent, "n_updates") else agent.progress.n_updates


@every_agent
@pytest.mark.parametrize("noise", ["uniform", "gaussian"])
def test_agents_act_alike_in_numpy_and_compiled_and_after_loading(agent_class, noise, tmp_path):
    agent = agent_class("MlpPolicy", market(), action_noise=noise, strategy="sign_reversal", **SMALL).learn(40)
    observations = np.linspace(0, 1, 9, dtype=np.float32)[:, None]
    actions, _ = agent.predict(observations, deterministic=True)
    assert all(agent.action_space.contains(action) for action in actions)
    agent.save(tmp_path / "agent", include=["replay_buffer"])
    loaded = agent_class.load(tmp_path / "agent", env=market())
    assert loaded.action_space == SharedParameters(Discrete(2), Box(0, 1, (2,)), MASK)
    again, _ = loaded.predict(observations, deterministic=True)
    for one, other in zip(actions, again, strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])
    agent.learn(20, reset_num_timesteps=False)
    loaded.learn(20, reset_num_timesteps=False)
    k, _, _ = agent.frozen_policy()(agent.observation_transform.batch(observations))
    assert [int(action[0]) for action in agent.predict(observations, deterministic=True)[0]] == k.numpy().tolist()


def test_noise_and_the_environment_see_an_actions_own_parameters_only():
    agent = MPDQN("MlpPolicy", market(), action_noise="gaussian", exploration_initial_eps=0.0, **SMALL)
    agent.exploration_rate = 0.0
    observation = np.array([0.5], np.float32)
    (k, greedy), _ = agent.predict(observation, deterministic=True)
    noisy = np.array([agent.predict(observation)[0][1] for _ in range(5)])
    moved = (noisy != greedy).any(0)
    assert moved.tolist() == MASK[int(k)]


def test_an_environment_that_shares_otherwise_is_refused():
    agent = MPDQN("MlpPolicy", market(), **SMALL)
    with pytest.raises(ValueError, match="env's action space is SharedParameters"):
        agent.set_env(HybridActionWrapper(Market(), parameter_mask=[[True, True], [True, True]]))


@pytest.mark.slow
def test_what_is_shared_is_learned():
    settings = SMALL | {"learning_starts": 200, "buffer_size": 5000, "batch_size": 32}
    agent = MPDQN("MlpPolicy", market(), actor_learning_rate=1e-3, **settings).learn(4000)
    assert evaluate_policy(agent, market(), 100, warn=False, seed=1)[0] > 0.5
