"""Every callback of SB3's, passed to `learn` of an agent with one environment, and with several in a `VecNormalize`.

Episodes of the corridor have five steps and pay 5, so when a callback stops a training is known beforehand.
"""

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import TD3
from stable_baselines3.common import callbacks as sb3
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from toy_environments import Corridor

from pamdp_agents import MPDQN, FlattenHybridAction, callbacks

SETTINGS = {"learning_starts": 8, "batch_size": 4, "buffer_size": 2000, "policy_kwargs": {"net_arch": [8]}, "seed": 0}


def one_environment():
    return Monitor(Corridor())


def normalised():
    return VecNormalize(make_vec_env(Corridor, n_envs=2))


@pytest.fixture(scope="module", params=[one_environment, normalised], ids=lambda make: make.__name__)
def trained(request):
    """An agent, which every test trains anew, and a function that makes an environment like its own."""
    return MPDQN("MlpPolicy", request.param(), **SETTINGS), request.param


@pytest.fixture
def agent(trained, tmp_path):
    """The agent, logging to `tmp_path/progress.csv`."""
    trained[0].set_logger(configure(str(tmp_path), ["csv"]))
    yield trained[0]
    trained[0].logger.close()


@pytest.fixture
def eval_env(trained):
    env = trained[1]()
    if isinstance(env, VecNormalize):
        env.training = env.norm_reward = False
    return env


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


class Watcher(sb3.BaseCallback):
    """Notes each call, and checks at every step what SB3's agents offer to callbacks."""

    def __init__(self):
        super().__init__()
        self.events = []

    def _init_callback(self):
        self.events.append("init")

    def _on_training_start(self):
        self.events.append("training start")
        assert self.locals["self"] is self.model
        assert self.locals["total_timesteps"] == 40
        self.at_start = self.num_timesteps

    def _on_rollout_start(self):
        self.events.append("rollout start")

    def _on_step(self):
        n = self.training_env.num_envs
        assert isinstance(self.training_env, VecEnv) and n == self.model.n_envs
        assert self.num_timesteps == self.at_start + n * self.n_calls
        assert self.locals["rewards"].shape == self.locals["dones"].shape == (n,)
        assert len(self.locals["infos"]) == len(self.locals["new_obs"]) == len(self.locals["actions"]) == n
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            assert ("episode" in info) == done
        self.logger.record("watcher/calls", self.n_calls)
        return True

    def _on_rollout_end(self):
        self.events.append("rollout end")

    def _on_training_end(self):
        self.events.append("training end")


def test_a_users_callback_is_called_as_in_sb3(agent):
    watcher = Watcher()
    agent.learn(40, callback=watcher)
    rollouts = 40 // agent.n_envs
    middle = ["rollout start", "rollout end"] * rollouts
    assert watcher.events == ["init", "training start", *middle, "training end"]
    assert watcher.n_calls == rollouts


def test_lists_of_callbacks_and_functions_are_called_and_may_stop_the_training(agent):
    first, second, steps = Watcher(), Watcher(), []

    def function(locals_, globals_):
        steps.append(locals_["self"].num_timesteps)
        return len(steps) < 10

    agent.learn(40, callback=[sb3.CallbackList([first, sb3.ConvertCallback(function)]), second])
    assert steps == list(range(agent.n_envs, 10 * agent.n_envs + 1, agent.n_envs))
    assert first.n_calls == second.n_calls == 10
    agent.learn(40, callback=function)
    assert len(steps) == 11


def test_eval_callback_evaluates_and_keeps_the_best_agent(agent, eval_env, tmp_path):
    evaluation = sb3.EvalCallback(
        eval_env, eval_freq=10, n_eval_episodes=3, log_path=tmp_path, best_model_save_path=tmp_path, verbose=0
    )
    agent.learn(40, callback=evaluation)
    assert evaluation.best_mean_reward == 5
    with np.load(tmp_path / "evaluations.npz") as saved:
        assert saved["timesteps"].tolist() == list(range(10 * agent.n_envs, 41, 10 * agent.n_envs))
        assert (saved["results"] == 5).all() and (saved["ep_lengths"] == 5).all()
    assert "eval/mean_reward" in (tmp_path / "progress.csv").read_text()
    assert MPDQN.load(tmp_path / "best_model").num_timesteps == 10 * agent.n_envs


def test_checkpoints_hold_the_agent_its_replay_buffer_and_the_normalisation(agent, trained, tmp_path):
    before = len(agent.replay_buffer)
    agent.learn(40, callback=sb3.CheckpointCallback(10, str(tmp_path), save_replay_buffer=True, save_vecnormalize=True))
    steps = 20 if agent.n_envs == 2 else 10
    loaded = MPDQN.load(tmp_path / f"rl_model_{steps}_steps.zip", env=trained[1]())
    assert loaded.num_timesteps == steps
    loaded.load_replay_buffer(tmp_path / f"rl_model_replay_buffer_{steps}_steps.pkl", truncate_last_traj=True)
    assert len(loaded.replay_buffer) == before + steps
    statistics = tmp_path / f"rl_model_vecnormalize_{steps}_steps.pkl"
    assert statistics.exists() == (agent.get_vec_normalize_env() is not None)
    if statistics.exists():
        restored = VecNormalize.load(str(statistics), make_vec_env(Corridor, n_envs=2))
        assert restored.obs_rms.count > steps
        assert restored.obs_rms.mean[0] > 1, "the corridor's positions are 0 to 5"


def test_the_normalisation_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    agent = MPDQN("MlpPolicy", normalised(), **SETTINGS)

    def half(self, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    statistics = tmp_path / "rl_model_vecnormalize_2_steps.pkl"
    statistics.write_bytes(b"old")
    monkeypatch.setattr(VecNormalize, "save", half)
    with pytest.raises(OSError, match=r"cannot write .*vecnormalize_2_steps.pkl \(No space left"):
        agent.learn(2, callback=callbacks.CheckpointCallback(1, tmp_path, save_vecnormalize=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rl_model_2_steps.zip", statistics.name]
    assert statistics.read_bytes() == b"old"


def test_training_stops_at_a_reward_threshold(agent, eval_env):
    stop = sb3.StopTrainingOnRewardThreshold(reward_threshold=4.5, verbose=1)
    agent.learn(200, callback=sb3.EvalCallback(eval_env, callback_on_new_best=stop, eval_freq=10, verbose=0))
    assert agent.num_timesteps == 10 * agent.n_envs


def test_training_stops_without_improvement(agent, eval_env):
    stop = sb3.StopTrainingOnNoModelImprovement(max_no_improvement_evals=1, min_evals=1, verbose=1)
    agent.learn(200, callback=sb3.EvalCallback(eval_env, callback_after_eval=stop, eval_freq=10, verbose=0))
    assert agent.num_timesteps == 3 * 10 * agent.n_envs, "the first is the best, the second may fail, the third not"


def test_training_stops_after_a_number_of_episodes(agent):
    agent.learn(200, callback=sb3.StopTrainingOnMaxEpisodes(max_episodes=3, verbose=1))
    assert agent.num_timesteps == 3 * 5 * agent.n_envs


def test_callbacks_are_triggered_every_n_timesteps(agent, tmp_path):
    triggered = []

    def note(locals_, globals_):
        triggered.append(locals_["self"].num_timesteps)
        return True

    every_20_steps = sb3.EveryNTimesteps(20, sb3.ConvertCallback(note))
    agent.learn(40, callback=[every_20_steps, sb3.LogEveryNTimesteps(10), Watcher()], log_interval=None)
    assert triggered == [20, 40]
    header, *rows = (tmp_path / "progress.csv").read_text().splitlines()
    assert "time/total_timesteps" in header and "train/critic_loss" in header and "watcher/calls" in header
    assert len(rows) == 4


def test_the_progress_bar_of_sb3_counts_all_environments(agent, capsys):
    bar = sb3.ProgressBarCallback()
    agent.learn(40, callback=bar)
    assert bar.pbar.n == bar.pbar.total == 40
    capsys.readouterr()


# -------------------------------------------------------------------- ours in SB3's agents


class Stop(callbacks.BaseCallback):
    def _on_step(self):
        return self.num_timesteps < 25


def test_our_callbacks_work_in_sb3s_agents_once_registered(tmp_path):
    sb3.BaseCallback.register(callbacks.BaseCallback)
    platform = "pamdp/Platform-v0"
    env, test_env = (Monitor(FlattenHybridAction(gym.make(platform))) for _ in range(2))
    agent = TD3("MlpPolicy", env, **SETTINGS)
    evaluation = callbacks.EvalCallback(test_env, eval_freq=10, n_eval_episodes=1, best_model_save_path=tmp_path)
    checkpoints = callbacks.CheckpointCallback(10, tmp_path)
    agent.learn(40, callback=[evaluation, checkpoints, callbacks.LogEveryNTimesteps(10), Stop()])
    assert agent.num_timesteps == 25
    assert np.isfinite(evaluation.best_mean_reward)
    assert {path.name for path in tmp_path.iterdir()} == {
        "best_model.zip",
        "rl_model_10_steps.zip",
        "rl_model_20_steps.zip",
    }
