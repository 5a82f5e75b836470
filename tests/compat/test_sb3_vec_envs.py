"""Agents train in SB3's vector environments, with its normalisation, and go on after saving and loading."""

import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import ConstantSchedule, LinearSchedule
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)
from toy_environments import Corridor, Film, Gates, Numbered, Target

from pamdp_agents import MPDQN, QPAMDP

SETTINGS = {"learning_starts": 20, "batch_size": 8, "buffer_size": 400, "policy_kwargs": {"net_arch": [8]}, "seed": 0}
ENVIRONMENTS = {
    "DummyVecEnv": lambda: DummyVecEnv([lambda: Monitor(Target())] * 2),
    "SubprocVecEnv": lambda: make_vec_env("pamdp_envs:pamdp/Platform-v0", n_envs=2, vec_env_cls=SubprocVecEnv),
    "VecMonitor": lambda: VecMonitor(DummyVecEnv([Target] * 3)),
    "VecFrameStack": lambda: VecFrameStack(make_vec_env(Target, n_envs=2), n_stack=3),
    "VecNormalize": lambda: VecNormalize(make_vec_env(Target, n_envs=2)),
}


@pytest.mark.parametrize("make", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_an_agent_learns_saves_loads_and_goes_on(make, tmp_path):
    env = make()
    agent = MPDQN("MlpPolicy", env, **SETTINGS)
    assert agent.get_env() is env
    assert agent.n_envs == env.num_envs
    assert agent.observation_space == env.observation_space
    agent.learn(60)
    assert agent.num_timesteps == 60
    assert agent._n_updates > 0
    assert len(agent.ep_info_buffer) > 0
    assert all(np.isfinite(episode["r"]) for episode in agent.ep_info_buffer)
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent", env=env)
    observations = env.reset()
    actions, _ = agent.predict(observations, deterministic=True)
    again, _ = loaded.predict(observations, deterministic=True)
    np.testing.assert_equal(again, actions)
    assert len(actions) == env.num_envs and all(env.action_space.contains(action) for action in actions)
    loaded.learn(30, reset_num_timesteps=False)
    assert loaded.num_timesteps == 90
    assert np.isfinite(evaluate_policy(loaded, env, n_eval_episodes=4, warn=False)[0])
    env.close()


def test_an_agent_trained_in_a_vec_env_plays_in_a_single_one(tmp_path):
    agent = MPDQN("MlpPolicy", make_vec_env(Target, n_envs=4), **SETTINGS | {"gradient_steps": -1})
    agent.learn(600)
    mean, _ = evaluate_policy(agent, make_vec_env(Target), n_eval_episodes=30)
    assert mean > 0.5, "the best return is 1, that of the two other actions 0.2"


def test_the_replay_buffer_holds_original_observations_and_rewards_under_vec_normalize():
    env = VecNormalize(make_vec_env(Corridor, n_envs=2), norm_reward=True)
    agent = MPDQN("MlpPolicy", env, **SETTINGS)
    agent.learn(40)
    assert agent.get_vec_normalize_env() is env
    rows = agent.replay_buffer.rows[:40]
    layout = agent.row
    np.testing.assert_array_equal(np.sort(np.unique(rows[:, layout.places["s"]])), np.arange(5))
    np.testing.assert_array_equal(rows[:, layout.places["s2"]], rows[:, layout.places["s"]] + 1)
    np.testing.assert_array_equal(rows[:, layout.places["r"]], np.ones((40, 1)))
    np.testing.assert_array_equal(rows[:, layout.places["discount"]], (rows[:, layout.places["s2"]] != 5))
    assert env.obs_rms.mean[0] == pytest.approx(2.0, abs=0.3), "the environment's statistics go on"


def test_a_truncated_episode_of_a_vec_env_is_stored_as_not_terminated():
    env = make_vec_env(Corridor, n_envs=2, env_kwargs={"truncate": True})
    agent = MPDQN("MlpPolicy", env, scale_observations=False, **SETTINGS)
    agent.learn(40)
    rows, layout = agent.replay_buffer.rows[:40], agent.row
    assert np.all(rows[:, layout.places["discount"]] == 1)
    np.testing.assert_array_equal(rows[:, layout.places["s2"]], rows[:, layout.places["s"]] + 1)


def test_an_agent_gets_normalised_observations_unscaled(tmp_path):
    """The observation space's bounds say nothing about what VecNormalize makes of observations."""
    env = VecNormalize(make_vec_env(Corridor, n_envs=2))
    agent = MPDQN("MlpPolicy", env, **SETTINGS)
    normalised = np.array([[-1.5], [0.25]], np.float32)
    np.testing.assert_array_equal(agent.observation_transform.batch(normalised), normalised)
    agent.save(tmp_path / "agent")
    np.testing.assert_array_equal(MPDQN.load(tmp_path / "agent").observation_transform.batch(normalised), normalised)


def test_samples_are_normalised_as_sb3_does_with_the_statistics_of_their_moment():
    env = VecNormalize(make_vec_env(Numbered, n_envs=2), gamma=0.9)
    agent = MPDQN("MlpPolicy", env, reward_scale=0.5, **SETTINGS)
    agent.learn(40)
    drawn = np.random.default_rng()
    drawn.bit_generator.state = agent.replay_buffer.rng.bit_generator.state
    rows, layout = agent.sample(1)[0], agent.row
    originals = agent.replay_buffer.rows[drawn.integers(0, 40, len(rows))]
    for part in (layout.places["s"], layout.places["s2"]):
        np.testing.assert_allclose(rows[:, part], env.normalize_obs(originals[:, part]), rtol=1e-6)
    np.testing.assert_allclose(
        rows[:, layout.places["r"]], 0.5 * env.normalize_reward(originals[:, layout.places["r"]] / 0.5), rtol=1e-6
    )
    np.testing.assert_array_equal(rows[:, layout.places["x"]], originals[:, layout.places["x"]])


@pytest.mark.parametrize("as_dict", [False, True])
def test_normalised_images_are_stored_as_the_bytes_they_were(as_dict):
    """The last one of an episode, too, which is normalised when it comes."""
    make = [lambda: Film(0, 2, as_dict), lambda: Film(1, 3, as_dict)]
    buffers = []
    for wrap in (lambda env: VecNormalize(env, clip_obs=1e6), lambda env: env):
        policy = "MultiInputPolicy" if as_dict else "MlpPolicy"
        buffers.append(MPDQN(policy, wrap(DummyVecEnv(make)), **SETTINGS).learn(40).replay_buffer)
    assert all(buffer.images is not None for buffer in buffers)
    np.testing.assert_array_equal(*(buffer.images.before for buffer in buffers))
    np.testing.assert_array_equal(*(buffer.images.after for buffer in buffers))


def test_only_the_keys_that_are_normalised_are_not_scaled():
    env = VecNormalize(make_vec_env(lambda: Numbered(as_dict=True), n_envs=1), norm_obs_keys=["place"])
    agent = MPDQN("MlpPolicy", env, **SETTINGS)
    assert agent.scale_observations == ["label"]
    given = {"label": np.array([[250.0]]), "place": np.array([[3.0, -2.0]])}
    np.testing.assert_array_equal(agent.observation_transform.batch(given), [[-0.5, 3.0, -2.0]])
    agent.learn(30)
    rows, layout = agent.sample(1)[0], agent.row
    np.testing.assert_array_equal(rows[:, layout.places["s"]][:, 0], -1)
    assert np.abs(rows[:, layout.places["s"]][:, 1:]).max() <= 10 and rows[:, layout.places["s"]][:, 1:].min() < 0


def test_environments_in_other_processes_need_no_spec_that_can_be_pickled():
    def make():
        env = Target()
        env.spec = EnvSpec("Unpicklable-v0", entry_point=lambda: None)
        return env

    env = SubprocVecEnv([make] * 2, start_method="fork")
    assert MPDQN("MlpPolicy", env, **SETTINGS).learn(30).num_timesteps == 30
    env.close()


def test_an_interrupted_step_of_other_processes_does_not_keep_them_from_a_reset():
    env = SubprocVecEnv([Target] * 2, start_method="fork")
    agent = MPDQN("MlpPolicy", env, **SETTINGS).learn(10)
    env.step_async([env.action_space.sample()] * 2)  # and then, Ctrl-C
    agent.environments.observations = None
    assert agent.learn(10, reset_num_timesteps=False).num_timesteps == 20
    env.close()


def test_the_normalised_training_of_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "vector_environments.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names = {}
    exec(block.replace("50_000", "300"), names)
    assert names["agent"].get_vec_normalize_env() is names["envs"]
    assert names["envs"].obs_rms.count > 100


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [(ConstantSchedule(3e-4), (3e-4, 3e-4)), (LinearSchedule(1e-3, 1e-4, 0.5), (1e-3, 1e-4))],
    ids=["constant", "linear"],
)
def test_schedules_of_sb3s_set_the_learning_rate_and_are_saved_without_pickles(schedule, rates, tmp_path):
    agent = MPDQN("MlpPolicy", Target(), **SETTINGS | {"learning_rate": schedule, "learning_starts": 0})
    agent.learn(40)
    agent.save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    for progress, rate in zip((1.0, 0.0), rates, strict=True):
        learning_rate = loaded.learning_rate
        assert (learning_rate(progress) if callable(learning_rate) else learning_rate) == pytest.approx(rate)


def test_training_by_episodes_as_sb3_counts_them():
    settings = SETTINGS | {"train_freq": (2, "episode"), "gradient_steps": -1, "learning_starts": 15}
    agent = MPDQN("MlpPolicy", make_vec_env(Corridor), **settings)
    updates = []
    agent.learn(40, callback=lambda locals_, globals_: updates.append(agent._n_updates) or True)
    assert updates == [0] * 20 + [10] * 10 + [20] * 10, "two episodes are ten steps, and as many updates"
    assert agent._n_updates == 30


def test_vec_normalize_is_found_inside_other_wrappers_and_originals_are_stored():
    inner = VecNormalize(DummyVecEnv([Corridor] * 2))
    agent = MPDQN("MlpPolicy", VecMonitor(inner), **SETTINGS).learn(40)
    assert agent.get_vec_normalize_env() is inner and agent.scale_observations is False
    rows, layout = agent.replay_buffer.rows[:40], agent.row
    np.testing.assert_array_equal(np.sort(np.unique(rows[:, layout.places["s"]])), np.arange(5))
    np.testing.assert_allclose(rows[:, layout.places["s2"]], rows[:, layout.places["s"]] + 1, rtol=1e-6)
    np.testing.assert_array_equal(rows[:, layout.places["r"]], np.ones((40, 1)))


def test_rewards_alone_may_be_normalised_inside_a_wrapper_that_changes_observations():
    env = VecFrameStack(VecNormalize(DummyVecEnv([Corridor] * 2), norm_obs=False), n_stack=2)
    agent = MPDQN("MlpPolicy", env, scale_observations=False, **SETTINGS).learn(40)
    rows, layout = agent.replay_buffer.rows[:40], agent.row
    s, s2 = rows[:, layout.places["s"]], rows[:, layout.places["s2"]]
    np.testing.assert_array_equal(s2, np.stack([s[:, 1], s[:, 1] + 1], axis=1))
    np.testing.assert_array_equal(rows[:, layout.places["r"]], np.ones((40, 1)))


class Negated(VecEnvWrapper):
    def reset(self):
        return -self.venv.reset()

    def step_wait(self):
        observations, *rest = self.venv.step_wait()
        return -observations, *rest


def test_normalised_observations_that_another_wrapper_changes_are_refused():
    stacked = VecFrameStack(VecNormalize(DummyVecEnv([Corridor])), n_stack=2)
    with pytest.raises(ValueError, match="put VecNormalize around that wrapper"):
        MPDQN("MlpPolicy", stacked, **SETTINGS)
    negated = Negated(VecNormalize(DummyVecEnv([lambda: Numbered(3)])))
    agent = MPDQN("MlpPolicy", negated, **SETTINGS)
    agent.environments.normalization.vec_normalize.obs_rms.mean += 1
    with pytest.raises(ValueError, match="a wrapper around it changes them"):
        agent.learn(10)


def test_a_reward_beyond_float32_is_seen_before_it_is_normalised():
    class Huge(Corridor):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, 1e39 if self.total == 7 else reward, *rest

    agent = MPDQN("MlpPolicy", VecNormalize(SubprocVecEnv([Huge] * 2, start_method="fork")), **SETTINGS)
    with pytest.raises(ValueError, match=r"\(number 0\) returned the reward (inf|1e\+39), .* at step 13"):
        agent.learn(40)
    assert len(agent.replay_buffer) == 12
    agent.env.close()


class Ending(Corridor):
    """Its process ends in a step, or in the reset after it."""

    def __init__(self, where):
        super().__init__()
        self.where = where

    def step(self, action):
        if self.where == "step" and self.total == 6:
            os._exit(3)
        return super().step(action)

    def reset(self, *, seed=None, options=None):
        if self.where == "reset" and self.total == 5:
            raise OSError("disk")
        return super().reset(seed=seed)


@pytest.mark.parametrize("where", ["step", "reset"])
@pytest.mark.parametrize("index", [0, 1])
def test_the_end_of_a_process_is_told_at_once_in_every_learn_until_other_environments_come(index, where):
    """Forked processes hold the later ones' pipes open, so that the end of a later one is not seen in its pipe."""
    made = [Corridor, Corridor, Corridor]
    made[index] = partial(Ending, where)
    env = SubprocVecEnv(made, start_method="fork")
    agent = MPDQN("MlpPolicy", env, **SETTINGS)
    lost = rf"\(number {index}\) is lost: the process in which it ran has ended with exit code .*set_env"
    with pytest.raises(RuntimeError, match=lost):
        agent.learn(60)
    with pytest.raises(RuntimeError, match=lost):
        agent.learn(10, reset_num_timesteps=False)
    env.close()
    before = agent.num_timesteps
    agent.set_env(DummyVecEnv([Corridor]))
    assert agent.learn(4, reset_num_timesteps=False).num_timesteps == before + 4


def test_an_interrupted_reset_of_other_processes_leaves_no_stale_answers():
    env = SubprocVecEnv([partial(Numbered, label) for label in range(2)], start_method="fork")
    agent = MPDQN("MlpPolicy", env, scale_observations=False, **SETTINGS).learn(6)
    for remote in env.remotes:  # a reset, and then, Ctrl-C
        remote.send(("reset", (None, {})))
    agent.environments.observations, agent.environments._adapter._processes.resetting = None, True
    agent.learn(6, reset_num_timesteps=False)
    rows, layout = agent.replay_buffer.rows[:12], agent.row
    np.testing.assert_array_equal(rows[:, layout.places["s2"]][:, 2], rows[:, layout.places["s"]][:, 2] + 1)
    env.close()


def test_qpamdp_takes_one_environment_and_no_vec_normalize():
    agent = QPAMDP("MlpPolicy", DummyVecEnv([Numbered]), seed=0, initial_action_episodes=3, n_rollouts=2)
    assert agent.learn(40).num_timesteps == 40
    with pytest.raises(ValueError, match="env must not be in a VecNormalize: QPAMDP's Fourier basis"):
        QPAMDP("MlpPolicy", VecNormalize(DummyVecEnv([Numbered])))
    with pytest.raises(ValueError, match="env has 2 environments, but QPAMDP needs one"):
        QPAMDP("MlpPolicy", DummyVecEnv([Numbered] * 2))


@pytest.mark.parametrize(
    "kind", [DummyVecEnv, SubprocVecEnv, lambda fns: VecMonitor(DummyVecEnv(fns))], ids=["dummy", "subproc", "monitor"]
)
@pytest.mark.parametrize("where", ["method", "info"])
@pytest.mark.filterwarnings("ignore:environment .* does not say which discrete actions were allowed at the end")
def test_forbidden_actions_are_never_taken(kind, where):
    env = kind([partial(Gates, where)] * 2)
    agent = MPDQN("MlpPolicy", env, exploration_final_eps=0.5, **SETTINGS).learn(100)
    rows = agent.replay_buffer.rows[:100]
    allowed, seen = rows[:, agent.row.places["next_action_mask"]] > 0, rows[:, agent.row.places["s2"]] > 0
    truncated_or_ended = (~seen | allowed).all(1) & (seen != allowed).any(1)
    assert (seen == allowed).all(1).sum() > 70 and (where == "info" or truncated_or_ended.any())
    env.close()
