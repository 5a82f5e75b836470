"""Kills at any moment of whatever writes: what was there or what was written is whole, and nothing is left behind.

`pytest -m slow tests/files/test_kills.py -s` makes them all, and prints what the kills met.
"""

import os
import random
import signal
import time
from collections import Counter

import pytest
from killed_writers import (
    WRITERS,
    hidden,
    kill_after_every_operation,
    kill_writers,
    start_command,
    start_server,
)

from pamdp_agents import PDQN
from pamdp_agents.cli.main import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

KILLS = {
    "agent": 15,
    "replay": 10,
    "checkpoint": 12,
    "evaluation": 15,
    "saved_model": 12,
    "tflite": 6,
    "onnx": 6,
    "picture": 8,
    "gif": 8,
    "mp4": 8,
    "recording": 6,
}


@pytest.fixture(scope="module")
def context():
    return start_server()


def report(kind, kills):
    new, unfinished = sum(kill.new for kill in kills), sum(kill.unfinished for kill in kills)
    print(
        f"{kind}: {len(kills)} kills left {len(kills) - new} times what was there, {new} times the new, always whole; "
        f"{unfinished} times also a temporary name, which the next write removed"
    )


@pytest.mark.parametrize("kind", ["agent", "evaluation"])
def test_a_killed_writer_leaves_something_whole(context, tmp_path, kind):
    report(kind, kill_writers(context, kind, tmp_path, random.Random(0), n_kills=1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
def test_writers_killed_at_random_moments_leave_something_whole(context, tmp_path, kind):
    report(kind, kill_writers(context, kind, tmp_path, random.Random(kind), KILLS[kind]))


SLOWER = sorted(set(WRITERS) - {"replay", "tflite", "onnx"})  # these three are written alike


@pytest.mark.parametrize("kind", ["replay", *(pytest.param(each, marks=pytest.mark.slow) for each in SLOWER)])
def test_writers_killed_after_any_operation_leave_something_whole(context, tmp_path, kind):
    kills = kill_after_every_operation(context, kind, tmp_path)
    report(f"{kind}, after each operation", kills)
    assert len(kills) > 3 and any(kill.unfinished for kill in kills)


# -------------------------------------------------------------------- the command line

TRAIN = ["train", "--algo", "pdqn", "--env", "pamdp/Platform-v0", "--defaults", "--num-threads", "1"]
TRAIN += ["--save-freq", "50", "--eval-freq", "100", "--eval-episodes", "2", "--seed", "3"]
TRAIN += ["-params", "learning_starts:20", "batch_size:4", "policy_kwargs:{'net_arch': [8]}"]
FILES = {"model.zip", "checkpoint.zip", "config.json", "progress.csv", "learning_curve.png", "evaluation.json"}
FILES |= {"best_model.zip", "evaluations.npz"}
FOREVER = "1000000"


def wait_for(file, process, output):
    while not file.is_file():
        assert process.is_alive(), output.read_text()
        time.sleep(0.001)


def steps_in(folder):
    return PDQN.load(folder / "checkpoint.zip").num_timesteps


def check_whole(folder, steps):
    assert {path.name for path in folder.iterdir()} == FILES
    assert PDQN.load(folder / "model.zip").num_timesteps == steps_in(folder) == steps


def test_a_killed_run_goes_on(context, tmp_path):
    folder, output = tmp_path / "pdqn" / "pamdp-Platform-v0_1", tmp_path / "output.txt"
    process = start_command(context, [*TRAIN, "-n", FOREVER, "-f", str(tmp_path)], output)
    wait_for(folder / "checkpoint.zip", process, output)
    process.kill()
    process.join()
    killed = steps_in(folder)
    assert killed > 0 and not (folder / "model.zip").exists()
    assert main(["train", "--resume", str(folder), "-n", str(killed + 200)]) == 0
    check_whole(folder, killed + 200)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_run_stopped_at_random_moments_goes_on_each_time(context, tmp_path, seed):
    rng, counts = random.Random(seed), Counter()
    folder, output = tmp_path / "pdqn" / "pamdp-Platform-v0_1", tmp_path / "output.txt"
    process = start_command(context, [*TRAIN, "-n", FOREVER, "-f", str(tmp_path)], output)
    wait_for(folder / "checkpoint.zip", process, output)
    steps = 0
    for _ in range(4):
        time.sleep(rng.uniform(0, 3))  # the random moment; nothing waits for it
        number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        os.kill(process.pid, number)
        if number != signal.SIGKILL and rng.random() < 0.5:
            os.kill(process.pid, number)  # `timeout` sends two
        process.join()
        assert process.exitcode == (-number if number == signal.SIGKILL else 128 + number), output.read_text()
        assert "Traceback" not in output.read_text()
        counts[signal.Signals(number).name] += 1
        reached = steps_in(folder)
        assert reached >= steps
        steps = reached
        process = start_command(context, [*TRAIN, "-n", FOREVER, "--resume", str(folder)], output)
        while "from step" not in output.read_text():
            assert process.is_alive(), output.read_text()
            time.sleep(0.001)
        assert f"from step {steps} on" in output.read_text()
    process.kill()
    process.join()
    counts["SIGKILL"] += 1
    steps = steps_in(folder) + 100
    assert main(["train", "--resume", str(folder), "-n", str(steps)]) == 0
    check_whole(folder, steps)
    print(f"command line, long run {seed}:", *(f"{count} {name}" for name, count in sorted(counts.items())))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_short_run_killed_at_random_moments_until_its_very_end_goes_on(context, tmp_path, seed):
    rng, output = random.Random(seed), tmp_path / "output.txt"
    folder = tmp_path / "killed" / "pdqn" / "pamdp-Platform-v0_1"
    train = [*TRAIN, "-n", "150", "-f"]
    process = start_command(context, [*train, str(tmp_path / "whole")], output)
    wait_for(tmp_path / "whole" / "pdqn" / "pamdp-Platform-v0_1" / "config.json", process, output)
    began = time.monotonic()
    process.join()
    duration = time.monotonic() - began
    assert process.exitcode == 0, output.read_text()
    process = start_command(context, [*train, str(tmp_path / "killed")], output)
    wait_for(folder / "config.json", process, output)
    left = []
    for _ in range(4):
        time.sleep(rng.uniform(0, duration))
        process.kill()
        process.join()
        left.append((steps_in(folder) if (folder / "checkpoint.zip").is_file() else 0, len(hidden(folder))))
        process = start_command(context, ["train", "--resume", str(folder)], output)
        while process.is_alive() and "from step" not in output.read_text() and "nothing left" not in output.read_text():
            time.sleep(0.001)
    process.join()
    assert process.exitcode == 0, output.read_text()
    check_whole(folder, 150)
    print(f"command line, short run {seed}: 4 kills, checkpoint's step and temporary names after each: {left}")
