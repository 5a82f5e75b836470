"""RL Zoo's `train` and `enjoy` with MPDQN in ALGOS: settings from a YAML file, evaluation, checkpoints, continuing.

Each command is a process of its own, as for a user; and RL Zoo changes Gymnasium's TimeLimit for its whole process.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

from pamdp_agents import MPDQN

EXAMPLES = Path(__file__).parents[2] / "examples"
PLATFORM = "pamdp/Platform-v0"
TRAIN = f"train --algo mpdqn --env {PLATFORM} --conf-file {EXAMPLES / 'rl_zoo.yml'} --seed 1 --eval-episodes 2"


def zoo(folder, arguments):
    """What the command printed."""
    command = [sys.executable, str(EXAMPLES / "rl_zoo.py"), *arguments.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where one agent has been trained."""
    folder = tmp_path_factory.mktemp("zoo")
    frequencies = "--n-timesteps 600 --eval-freq 200 --save-freq 300 --log-interval 20"
    printed = zoo(folder, f"{TRAIN} {frequencies} --save-replay-buffer --tensorboard-log tb --verbose 1")
    assert "Normalization activated" in printed and "ep_rew_mean" in printed
    return folder


def test_train_leaves_what_rl_zoo_leaves_of_its_own_algorithms(folder):
    run = folder / "logs/mpdqn/pamdp-Platform-v0_1"
    steps = {f"rl_model_{steps}_steps.zip" for steps in (300, 600)}
    assert {path.name for path in run.iterdir()} >= steps | {
        "pamdp-Platform-v0.zip",
        "best_model.zip",
        "replay_buffer.pkl",
        "evaluations.npz",
        "0.monitor.csv",
        "1.monitor.csv",
    }
    assert {path.name for path in (run / "pamdp-Platform-v0").iterdir()} == {
        "args.yml",
        "command.txt",
        "config.yml",
        "vecnormalize.pkl",
    }
    assert list(folder.glob("tb/**/events.out.tfevents.*"))
    with np.load(run / "evaluations.npz") as evaluations:
        assert evaluations["timesteps"].tolist() == [200, 400, 600]


def test_the_yaml_file_says_what_the_agent_is(folder):
    config = yaml.safe_load((EXAMPLES / "rl_zoo.yml").read_text())[PLATFORM]
    agent = MPDQN.load(folder / "logs/mpdqn/pamdp-Platform-v0_1/pamdp-Platform-v0.zip")
    assert config["learning_rate"] == "lin_1e-3"
    assert [agent.learning_rate(progress) for progress in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5e-4, 0.0])
    for name in ("policy", "learning_starts", "batch_size", "train_freq", "gradient_steps"):
        assert getattr(agent, name) == config[name]
    assert agent.num_timesteps == 600
    assert agent._n_updates == 600 - config["learning_starts"]
    env = VecNormalize.load(
        str(folder / "logs/mpdqn/pamdp-Platform-v0_1/pamdp-Platform-v0/vecnormalize.pkl"), make_vec_env(PLATFORM)
    )
    env.training = False
    assert evaluate_policy(agent, env, n_eval_episodes=3)[0] > 0


@pytest.mark.parametrize("which", ["--load-best", "--load-last-checkpoint --n-envs 2"])
def test_enjoy_plays_what_was_trained(folder, which):
    printed = zoo(folder, f"enjoy --algo mpdqn --env {PLATFORM} -f logs --no-render --n-timesteps 60 {which}")
    assert "Loading running average" in printed
    if "--n-envs" not in which:  # RL Zoo reports episodes of one environment only
        assert float(re.search(r"Mean reward: (\S+)", printed)[1]) > 0


def test_train_goes_on_with_a_trained_agent_and_its_replay_buffer(folder):
    trained = "logs/mpdqn/pamdp-Platform-v0_1/pamdp-Platform-v0.zip"
    printed = zoo(folder, f"{TRAIN} --trained-agent {trained} -n 60 --eval-freq -1 --hyperparams learning_rate:1e-4")
    assert "Loading pretrained agent" in printed and "Loading replay buffer" in printed
    agent = MPDQN.load(folder / "logs/mpdqn/pamdp-Platform-v0_2/pamdp-Platform-v0.zip")
    assert agent.num_timesteps == 60
    assert agent._n_updates == 100, "those before: learning starts after 500 steps again"
    assert agent.learning_rate == 1e-4


def test_training_by_episodes_and_action_noise_are_read_from_yaml(tmp_path):
    conf = f"--conf-file {EXAMPLES / 'rl_zoo.yml'} --hyperparams learning_starts:20"
    zoo(tmp_path, f"train --algo mpdqn --env pamdp/Goal-v1 {conf} -n 100 --eval-freq -1 --seed 1")
    agent = MPDQN.load(tmp_path / "logs/mpdqn/pamdp-Goal-v1_1/pamdp-Goal-v1.zip")
    assert agent.train_freq == (1, "episode")
    assert type(agent.action_noise).__name__ == "GaussianNoise"
    assert agent.num_timesteps >= 100, "the last episode is played to its end"
    assert 0 < agent._n_updates <= agent.num_timesteps - 20
