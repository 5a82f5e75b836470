"""Kills of `train` at any moment: only what came after the last checkpoint is lost, and nothing is left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pamdp_agents import PDQN
from pamdp_agents.cli.main import main

TRAIN = [sys.executable, "-m", "pamdp_agents", "train", "--algo", "pdqn", "--env", "pamdp/Platform-v0", "--defaults"]
TRAIN += ["--save-freq", "50", "--eval-freq", "100", "--eval-episodes", "2", "--seed", "3", "--num-threads", "1"]
TRAIN += ["-params", "learning_starts:20", "batch_size:4", "policy_kwargs:{'net_arch': [8]}"]
FILES = {"model.zip", "checkpoint.zip", "config.json", "progress.csv", "learning_curve.png", "evaluation.json"}
FILES |= {"best_model.zip", "evaluations.npz"}
FOREVER = 1_000_000


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([*TRAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(file: Path, process: subprocess.Popen) -> None:
    while not file.is_file():
        assert process.poll() is None, process.communicate()[0]
        os.sched_yield()


def steps_in(folder: Path) -> int:
    return PDQN.load(folder / "checkpoint.zip").num_timesteps


def check_whole(folder: Path, steps: int) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert PDQN.load(folder / "model.zip").num_timesteps == steps_in(folder) == steps


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    process = start("-n", str(FOREVER), "-f", str(tmp_path))
    folder = tmp_path / "pdqn" / "pamdp-Platform-v0_1"
    wait_for(folder / "checkpoint.zip", process)
    process.kill()
    process.communicate()
    killed = steps_in(folder)
    assert killed > 0 and not (folder / "model.zip").exists()
    assert main(["train", "--resume", str(folder), "-n", str(killed + 200)]) == 0
    check_whole(folder, killed + 200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_run_stopped_at_random_moments_goes_on_each_time(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "pdqn" / "pamdp-Platform-v0_1"
    process = start("-n", str(FOREVER), "-f", str(tmp_path))
    wait_for(folder / "checkpoint.zip", process)
    steps = 0
    for _ in range(4):
        time.sleep(rng.uniform(0, 3))  # the random moment; nothing waits for it
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        process.send_signal(number)
        if number != signal.SIGKILL and rng.random() < 0.5:
            process.send_signal(number)  # `timeout` sends two
        output, _ = process.communicate()
        assert "Traceback" not in output
        reached = steps_in(folder)
        assert reached >= steps
        steps = reached
        process = start("-n", str(FOREVER), "--resume", str(folder))
        line = next(text for text in process.stdout if "from step" in text or "pamdp-agents: error" in text)
        assert f"from step {steps} on" in line
    process.kill()
    process.communicate()
    steps = steps_in(folder) + 100
    assert main(["train", "--resume", str(folder), "-n", str(steps)]) == 0
    check_whole(folder, steps)
