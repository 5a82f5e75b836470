"""SB3's loggers and writers in this library's agents, and this library's loggers in SB3's."""

import csv
import json

import gymnasium as gym
from stable_baselines3 import TD3
from stable_baselines3.common import logger as sb3

from pamdp_agents import MPDQN, FlattenHybridAction, logger

PLATFORM = "pamdp/Platform-v0"
KEYS = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "time/total_timesteps", "train/critic_loss", "train/actor_loss"}


def columns(folder):
    with (folder / "progress.csv").open(newline="") as file:
        [*rows] = csv.DictReader(file)
    assert len(rows) > 1
    return set(rows[-1])


def test_an_agent_logs_through_sb3s_configure(tmp_path):
    agent = MPDQN("MlpPolicy", PLATFORM, learning_starts=10, batch_size=4, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.set_logger(sb3.configure(str(tmp_path), ["stdout", "log", "csv", "json", "tensorboard"]))
    agent.learn(60, log_interval=2)
    assert columns(tmp_path) >= KEYS
    lines = (tmp_path / "progress.json").read_text().splitlines()
    assert json.loads(lines[-1])["time/total_timesteps"] <= agent.num_timesteps
    assert "ep_rew_mean" in (tmp_path / "log.txt").read_text()
    assert list(tmp_path.glob("events.out.tfevents.*"))
    agent.logger.close()


def test_an_agent_of_sb3_logs_through_our_configure(tmp_path):
    env = FlattenHybridAction(gym.make(PLATFORM))
    agent = TD3("MlpPolicy", env, learning_starts=10, batch_size=4, policy_kwargs={"net_arch": [8]}, seed=0)
    agent.set_logger(logger.configure(tmp_path, ["stdout", "log", "csv", "json", "tensorboard"]))
    agent.learn(60, log_interval=2)
    assert columns(tmp_path) >= KEYS


def test_our_logger_takes_sb3s_writers(tmp_path):
    made = logger.Logger(
        str(tmp_path),
        [sb3.CSVOutputFormat(str(tmp_path / "progress.csv")), sb3.JSONOutputFormat(str(tmp_path / "progress.json"))],
    )
    for step in (1, 2):
        made.record("a/b", 0.5 * step)
        made.record("a/hidden", 1, exclude="csv")
        made.dump(step)
    made.close()
    assert columns(tmp_path) == {"a/b"}
    assert json.loads((tmp_path / "progress.json").read_text().splitlines()[-1]) == {"a/b": 1.0, "a/hidden": 1}
