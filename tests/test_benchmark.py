"""The benchmark measures what it says, and refuses a baseline that prints no number."""

import sys

import pytest

from pamdp_agents import benchmark


def test_the_learner_benchmark_counts_real_updates():
    learner = benchmark.LearnerBenchmark("PDQN", "pamdp/Platform-v0")
    assert learner.steps_per_second(steps=8, fused=4) > 0
    assert learner.agent._n_updates == 4 + 8  # one call to compile, then two
    assert len(learner.agent.replay_buffer) == learner.agent.buffer_size
    assert learner.predict_milliseconds(3) > 0
    assert learner.predict_batch(300, 3) > 0


def test_the_training_benchmark_counts_the_steps_of_all_environments_and_updates_once_a_step():
    training = benchmark.TrainingBenchmark("PDQN", "pamdp/Platform-v0", n_envs=2, train_freq=1, gradient_steps=2)
    steps, updates = training.agent.num_timesteps, training.agent._n_updates
    assert training.steps_per_second(20) > 0
    assert training.agent.num_timesteps - steps == training.agent._n_updates - updates == 20


def test_environment_steps_are_measured():
    assert benchmark.environment_steps("pamdp/Platform-v0", 20) > 0


def test_the_table_has_the_ratio_to_the_baseline_of_the_same_environment():
    rows = [
        ("pamdp/Platform-v0: MPDQN learner, 1 updates in a call", "steps/s", 900.0, 800.0, 1000.0),
        ("pamdp/Platform-v0: baseline learner", "steps/s", 300.0, 290.0, 310.0),
        ("pamdp/Goal-v0: MPDQN learner, 1 updates in a call", "steps/s", 500.0, 400.0, 600.0),
    ]
    lines = benchmark.table(rows).splitlines()
    assert lines[1].endswith("3.0 × baseline")
    assert "×" not in lines[2] + lines[3]


def test_a_baseline_is_a_command_that_prints_its_steps_per_second():
    command = f"""{sys.executable} -c 'print("hello"); print("{{\\"learner_steps_per_second\\": 12.5}}")'"""
    assert benchmark.baseline_steps(command) == 12.5
    with pytest.raises(ValueError, match="must end with a line like"):
        benchmark.baseline_steps(f"{sys.executable} -c 'print(3)'")
