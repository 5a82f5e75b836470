"""SB3's `evaluate_policy`, `check_env` and the loop of its README, with this library's agents and environments."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor, VecNormalize
from toy_environments import Corridor, Lives

from pamdp_agents import MPDQN, FlattenHybridAction, HybridActionWrapper, evaluation
from pamdp_agents.callbacks import EvalCallback

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


# ------------------------------------------- recorders in other processes, and infos that are not theirs


@pytest.mark.parametrize("recorder", [Monitor, RecordEpisodeStatistics])
@pytest.mark.parametrize("vector", [DummyVecEnv, SubprocVecEnv, AsyncVectorEnv, SyncVectorEnv])
def test_a_recorder_inside_a_vector_environment_is_heard(vector, recorder):
    agent = MPDQN("MlpPolicy", Corridor(4), policy_kwargs={"net_arch": [8]})
    env = vector([lambda: Lives(recorder(Corridor(4)))] * 2)
    if vector in (AsyncVectorEnv, SyncVectorEnv) or recorder is RecordEpisodeStatistics:
        found = [([4.0] * 4, [4] * 4)] * 2
        found[0] = evaluation.evaluate_policy(agent, env, 4, return_episode_rewards=True)
    else:
        found = [
            each(agent, env, 4, return_episode_rewards=True) for each in (evaluation.evaluate_policy, evaluate_policy)
        ]
    env.close()
    assert found[0] == found[1] == ([4.0] * 4, [4] * 4)


def test_the_view_of_a_monitored_environment_leaves_episodes_to_its_monitor():
    agent = MPDQN("MlpPolicy", Lives(Monitor(Corridor(4))), policy_kwargs={"net_arch": [8]})
    for each in (evaluation.evaluate_policy, evaluate_policy):
        assert each(agent, agent.get_env(), 3, return_episode_rewards=True) == ([4.0] * 3, [4] * 3)


class Counting(Corridor):
    def step(self, action):
        *result, _ = super().step(action)
        return *result, {"episode": 3, "is_success": "x", "terminal_observation": 1, "TimeLimit.truncated": "no"}


@pytest.mark.parametrize("vector", [DummyVecEnv, SubprocVecEnv])
def test_infos_that_are_not_a_recorders_are_left_alone_in_sb3s_vector_environments(vector):
    env = vector([lambda: Counting(4)] * 2)
    agent = MPDQN("MlpPolicy", env, policy_kwargs={"net_arch": [8]}).learn(16)
    assert [(episode["r"], episode["l"]) for episode in agent.ep_info_buffer] == [(4.0, 4)] * 4
    assert not agent.ep_success_buffer
    found = evaluation.evaluate_policy(agent, env, 4, return_episode_rewards=True, warn=False)
    env.close()
    assert found == ([4.0] * 4, [4] * 4)


@pytest.mark.parametrize("wrapped", ["training", "evaluation"])
def test_normalising_one_environment_only_is_warned_of(wrapped):
    envs = {name: make_vec_env(lambda: Corridor(4)) for name in ("training", "evaluation")}
    envs[wrapped] = VecNormalize(envs[wrapped])
    agent = MPDQN("MlpPolicy", envs["training"], policy_kwargs={"net_arch": [8]})
    callback = EvalCallback(envs["evaluation"], eval_freq=100, verbose=0)
    with pytest.warns(UserWarning, match=f"Only the {wrapped} environment is in VecNormalize"):
        agent.learn(5, callback=callback)
