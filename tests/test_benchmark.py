"""The benchmark measures what it says, and refuses a baseline that prints no number."""

import json
import sys

import pytest

from pamdp_agents.benchmark import measuring, speed
from pamdp_agents.benchmark.__main__ import main
from pamdp_agents.benchmark.measuring import Measurement, Row


def test_the_learner_benchmark_counts_real_updates():
    learner = speed.LearnerBenchmark("PDQN", "pamdp/Platform-v0")
    assert learner.steps_per_second(steps=8, fused=4) > 0
    assert learner.agent._n_updates == 4 + 8  # one call to compile, then two
    assert len(learner.agent.replay_buffer) == learner.agent.buffer_size
    assert learner.predict_milliseconds(3) > 0
    assert learner.predict_batch(300, 3) > 0


def test_the_training_benchmark_counts_the_steps_of_all_environments_and_updates_once_a_step():
    training = speed.TrainingBenchmark("PDQN", "pamdp/Platform-v0", n_envs=2, train_freq=1, gradient_steps=2)
    steps, updates = training.agent.num_timesteps, training.agent._n_updates
    assert training.steps_per_second(20) > 0
    assert training.agent.num_timesteps - steps == training.agent._n_updates - updates == 20


def test_environment_steps_are_measured():
    assert speed.environment_steps("pamdp/Platform-v0", 20) > 0


def test_the_table_has_the_ratio_to_the_baseline_of_the_same_environment():
    rows = [
        Row("pamdp/Platform-v0: MPDQN learner, 1 updates in a call", "steps/s", 900.0, 800.0, 1000.0),
        Row("pamdp/Platform-v0: baseline learner", "steps/s", 300.0, 290.0, 310.0),
        Row("pamdp/Goal-v0: MPDQN learner, 1 updates in a call", "steps/s", 500.0, 400.0, 600.0),
    ]
    lines = measuring.table(rows).splitlines()
    assert lines[1].endswith("3.0 × baseline")
    assert "×" not in lines[2] + lines[3]


def test_a_baseline_is_a_command_that_prints_its_steps_per_second():
    command = f"""{sys.executable} -c 'print("hello"); print("{{\\"learner_steps_per_second\\": 12.5}}")'"""
    assert measuring.baseline_steps(command) == 12.5
    with pytest.raises(ValueError, match="must end with a line like"):
        measuring.baseline_steps(f"{sys.executable} -c 'print(3)'")


def test_environments_together_files_and_matrix_products_are_measured():
    assert speed.vector_environment_steps("pamdp/Platform-v0", 16, 80) > 0
    assert all(0 < seconds < 10 for seconds in speed.file_seconds("PDQN", "pamdp/Platform-v0"))
    assert speed.matrix_product_rate(64, 32, 32, 5) > 0


def test_a_new_process_is_timed_to_its_first_update():
    tensorflow, library, update, megabytes = speed.start_up("PDQN", "pamdp/Platform-v0")
    assert tensorflow > 0 and library > 0 and update > 0
    assert megabytes > 100  # TensorFlow alone takes more


def test_repeats_take_turns_and_every_second_round_goes_backwards():
    ran = []

    def measure(name, *values):
        return Measurement(tuple((f"{name}{i}", "s") for i in range(len(values))), lambda: ran.append(name) or values)

    rows = measuring.repeat_in_turn([measure("a", 1.0), measure("b", 2.0, 3.0)], 3)
    assert ran == ["a", "b", "b", "a", "a", "b"]
    assert rows == [Row("a0", "s", 1, 1, 1), Row("b0", "s", 2, 2, 2), Row("b1", "s", 3, 3, 3)]


def test_the_command_prints_the_chosen_rows_and_writes_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(speed, "measurements", lambda steps, baseline: [measuring.one("a thing", "s", lambda: steps)])
    main(["speed", "--steps", "7", "--repeats", "1", "--threads", "0", "--json", str(tmp_path / "rows.json")])
    assert "a thing" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "rows.json").read_text())
    assert row == {"what": "a thing", "unit": "s", "median": 7, "lowest": 7, "highest": 7}
    with pytest.raises(SystemExit):
        main(["speed", "--threads", "0", "--only", "nothing like it"])
