"""SB3's `evaluate_policy`, `check_env` and the loop of its README, with this library's agents and environments."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from pamdp_agents import MPDQN, FlattenHybridAction, HybridActionWrapper, evaluation

PLATFORM = "pamdp/Platform-v0"
ENVIRONMENTS = {
    "Monitor": lambda: Monitor(gym.make(PLATFORM)),
    "DummyVecEnv": lambda: DummyVecEnv([lambda: Monitor(gym.make(PLATFORM))]),
    "make_vec_env": lambda: make_vec_env(PLATFORM, n_envs=3),
    "make_vec_env with a wrapper": lambda: make_vec_env(PLATFORM, n_envs=2, wrapper_class=HybridActionWrapper),
    "VecMonitor": lambda: VecMonitor(DummyVecEnv([lambda: gym.make(PLATFORM)] * 2)),
    "VecNormalize": lambda: VecNormalize(make_vec_env(PLATFORM, n_envs=2), training=False, norm_obs=False),
}


@pytest.fixture(scope="module")
def agent():
    return MPDQN.from_pretrained(PLATFORM)


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


@pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_sb3s_evaluate_policy_finds_the_return_that_ours_finds(agent, make):
    def seeded():
        env = make()
        (env.seed if hasattr(env, "num_envs") else lambda seed: env.reset(seed=seed))(0)
        return env

    rewards, lengths = evaluate_policy(agent, seeded(), n_eval_episodes=6, return_episode_rewards=True)
    ours = evaluation.evaluate_policy(agent, seeded(), n_eval_episodes=6, return_episode_rewards=True)
    np.testing.assert_allclose(rewards, ours[0], rtol=1e-6)
    assert list(lengths) == list(ours[1])
    assert np.mean(rewards) > 0.8, "the pretrained agent plays well through SB3's environments"


def test_sb3s_evaluate_policy_checks_its_threshold_and_calls_its_callback(agent):
    ends = []
    with pytest.raises(AssertionError, match="Mean reward below threshold"):
        evaluate_policy(
            agent,
            make_vec_env(PLATFORM, n_envs=2),
            n_eval_episodes=2,
            deterministic=False,
            callback=lambda locals_, globals_: ends.append(locals_["done"]),
            reward_threshold=2.0,
        )
    assert sum(ends) == 2


def test_the_loop_of_sb3s_readme_runs(agent):
    agent.set_env(gym.make(PLATFORM, render_mode="rgb_array"))
    vec_env = agent.get_env()
    obs = vec_env.reset()
    episodes = 0
    for _ in range(60):
        action, _states = agent.predict(obs, deterministic=True)
        obs, rewards, dones, infos = vec_env.step(action)
        assert obs.shape == (1, 9) and rewards.shape == dones.shape == (1,)
        if dones[0]:
            episodes += 1
            assert vec_env.observation_space.contains(infos[0]["terminal_observation"])
    assert episodes > 0
    assert vec_env.render("rgb_array").shape[2] == 3


def test_sb3s_evaluate_policy_takes_the_agents_own_environment(agent):
    agent.set_env(Monitor(gym.make(PLATFORM)))
    mean, _ = evaluate_policy(agent, agent.get_env(), n_eval_episodes=5)
    assert mean > 0.8


# -------------------------------------------------------------------- check_env


def test_a_flattened_platform_passes_sb3s_check():
    check_env(FlattenHybridAction(gym.make(PLATFORM)))


def test_sb3s_check_of_hybrid_actions_ends_only_where_it_makes_an_array_of_them():
    with pytest.warns(UserWarning, match="flatten the action"), pytest.raises(ValueError, match="inhomog") as caught:
        check_env(gym.make(PLATFORM))
    assert caught.traceback[2].name == "_check_nan", "every check of the environment itself comes before this one"
