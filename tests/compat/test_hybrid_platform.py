"""hybrid-platform from PyPI, an environment that nobody of this project wrote, is learned as it is."""

import gym_platform  # noqa: F401  # registers Platform-v0
import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from pamdp_agents import MPDQN, FlattenHybridAction, evaluation

SETTINGS = {"learning_starts": 50, "batch_size": 32, "policy_kwargs": {"net_arch": [32]}, "seed": 0}


def test_an_agent_learns_it_with_no_adapter(tmp_path):
    agent = MPDQN("MlpPolicy", "Platform-v0", **SETTINGS)
    before, _ = evaluation.evaluate_policy(agent, "Platform-v0", n_eval_episodes=10, seed=0)
    agent.learn(1000)
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent", env=gym.make("Platform-v0"))
    after, _ = evaluation.evaluate_policy(loaded, "Platform-v0", n_eval_episodes=10, seed=0)
    assert after > before


def test_its_tuple_observations_and_actions_pass_through_sb3s_vec_env():
    agent = MPDQN("MlpPolicy", gym.make("Platform-v0"), **SETTINGS)
    seeded = [make_vec_env("Platform-v0", n_envs=2, seed=0) for _ in range(2)]
    theirs = evaluate_policy(agent, seeded[0], n_eval_episodes=4)
    np.testing.assert_allclose(evaluation.evaluate_policy(agent, seeded[1], n_eval_episodes=4), theirs, rtol=1e-6)
    trained = MPDQN("MlpPolicy", seeded[0], **SETTINGS).learn(100)
    assert trained._n_updates > 0 and trained.num_timesteps == 100


@pytest.mark.parametrize("k", [0, 1, 2])
def test_its_actions_can_be_flattened(k):
    env = FlattenHybridAction(gym.make("Platform-v0"))
    env.reset(seed=0)
    action = np.zeros(6, np.float32)
    action[k] = 1
    observation, reward, *_ = env.step(action)
    assert env.observation_space.contains(observation) and reward > 0
