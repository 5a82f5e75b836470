"""The benchmarks measure what they say, and refuse a baseline that prints no number."""

import json
import sys
from collections import Counter

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from pamdp_agents import MPDQN
from pamdp_agents.benchmark import many_actions, measuring, processes, products, scaling, speed, step_profile
from pamdp_agents.benchmark.__main__ import main
from pamdp_agents.benchmark.cases import PUBLISHED, make_agent
from pamdp_agents.benchmark.learners import LearnerBenchmark
from pamdp_agents.benchmark.measuring import Derived, Measurement, Row
from pamdp_agents.benchmark.trainings import SeedsBenchmark, TrainingBenchmark

TINY = {"policy_kwargs": {"net_arch": [4]}, "batch_size": 2, "buffer_size": 50}

# -------------------------------------------------------------------- rows


def test_repeats_take_turns_and_every_second_round_goes_backwards():
    ran = []

    def measure(name, *values):
        return Measurement(tuple((f"{name}{i}", "s") for i in range(len(values))), lambda: ran.append(name) or values)

    rows = measuring.repeat_in_turn([measure("a", 1.0), measure("b", 2.0, 3.0)], 3)
    assert ran == ["a", "b", "b", "a", "a", "b"]
    assert rows == [Row("a0", "s", 1, 1, 1), Row("b0", "s", 2, 2, 2), Row("b1", "s", 3, 3, 3)]


def test_a_ratio_is_that_of_numbers_of_the_same_round():
    own, other = iter([2.0, 30.0, 400.0]), iter([1.0, 10.0, 100.0])
    entries = [
        measuring.ratio("own", "other", "the other"),
        measuring.one("own", "s", lambda: next(own)),
        measuring.one("other", "s", lambda: next(other)),
    ]
    assert measuring.repeat_in_turn(entries, 3)[0] == Row("own / the other", "×", 3.0, 2.0, 4.0)


def test_only_chooses_rows_by_their_names_and_what_they_are_computed_from():
    a, b, c = (measuring.one(name, "s", float) for name in ("a thing", "another", "a third"))
    derived = Derived((("product", "×"),), ("a thing", "a third"), lambda x, y: x * y)
    entries = [a, b, c, derived]
    assert measuring.select(entries, "product") == [a, c, derived]
    assert measuring.select(entries, "an") == [b]
    assert measuring.select(entries, "") == entries


def test_the_pivoted_table_has_one_line_for_each_subject():
    rows = [
        Row("a: time", "s", 1.5, 1.0, 2.0),
        Row("b: time", "s", 2500.0, 2500.0, 2500.0),
        Row("b: size", "MB", 3, 3, 3),
    ]
    lines = [line.split("  ") for line in measuring.pivot(rows).splitlines()]
    assert [[text.strip() for text in line if text] for line in lines] == [
        ["time, s", "size, MB"],
        ["a", "1.5 (1-2)"],
        ["b", "2,500", "3"],
    ]


def test_a_measurement_ends_when_its_time_is_up():
    calls = []
    assert measuring.median_seconds(lambda: calls.append(0), 100, most_seconds=0.0) >= 0
    assert len(calls) == 1


# -------------------------------------------------------------------- other processes


def test_a_baseline_is_a_command_that_prints_its_steps_per_second():
    command = f"""{sys.executable} -c 'print("hello"); print("{{\\"learner_steps_per_second\\": 12.5}}")'"""
    assert processes.baseline_steps(command) == 12.5
    with pytest.raises(ValueError, match="must end with a line like"):
        processes.baseline_steps(f"{sys.executable} -c 'print(3)'")


def test_a_script_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)product_times.py failed for \[\[1\]\].*missing 3 required"):
        processes.run_script("product_times.py", [[1]])


def test_a_new_process_is_timed_to_the_first_updates_of_its_agents():
    tensorflow, library, update, megabytes = speed.start_up("PDQN", "pamdp/Platform-v0", 2, TINY)
    assert tensorflow > 0 and library > 0 and update > 0
    assert megabytes > 100  # TensorFlow alone takes more


# -------------------------------------------------------------------- products of matrices


def test_the_operations_of_a_small_update_are_those_counted_by_hand_however_they_are_written():
    # Platform: 9 observations, 3 actions of 1 parameter: so few that the update has sums for some of the products.
    # Layers of 4 and 5 hidden units, 2 transitions.
    agent = make_agent("MPDQN", "pamdp/Platform-v0", **TINY | {"policy_kwargs": {"net_arch": [4, 5]}})
    actor = 2 * 2 * (9 * 4 + 4 * 5 + 5 * 3)
    taken = 2 * 2 * (12 * 4 + 4 * 5 + 5 * 3)
    parameters, later = 3 * 2 * 2 * 1 * 4, 3 * 2 * 2 * (4 * 5 + 5 * 1)
    q = 2 * 2 * 9 * 4 + parameters + later
    target = actor + q
    q_gradient = taken + taken + 2 * 2 * (4 * 5 + 5 * 3)  # forwards, to the weights, to the hidden layers
    to_x = actor + q + later + parameters
    to_actor = actor + 2 * 2 * (4 * 5 + 5 * 3)
    found = products.update_products(agent)
    assert products.operations(found) == target + q_gradient + to_x + to_actor == 3128


def test_products_are_timed_as_often_as_they_occur():
    # So large that the time of calling NumPy, which is taken away, is nothing beside it even on a busy machine.
    assert products.microseconds_alone(Counter({products.Product(1, 300, 300, 300): 2})) > 0
    assert products.microseconds_alone(Counter()) == 0


# -------------------------------------------------------------------- what is measured


def test_the_learner_benchmark_counts_real_updates():
    learner = LearnerBenchmark(make_agent("PDQN", "pamdp/Platform-v0", **PUBLISHED["pamdp/Platform-v0"]))
    assert len(learner.agent.replay_buffer) == learner.agent.buffer_size
    assert learner.steps_per_second(steps=8, fused=4) > 0
    assert learner.agent._n_updates == 4 + 8  # one call to compile, then two
    made = learner.agent.learner.unload().networks["q"].updates
    assert learner.update_microseconds(fused=4, calls=2) > 0
    assert learner.agent.learner.unload().networks["q"].updates == made + 4 + 8
    assert learner.agent.learner.traces == 1
    assert learner.predict_milliseconds(3) > 0
    assert learner.predict_batch(300, 3) > 0


def test_the_training_benchmark_counts_the_steps_of_all_environments_and_updates_once_a_step():
    training = TrainingBenchmark("PDQN", "pamdp/Platform-v0", n_envs=2, train_freq=1, gradient_steps=2)
    steps, updates = training.agent.num_timesteps, training.agent._n_updates
    assert training.steps_per_second(20) > 0
    assert training.agent.num_timesteps - steps == training.agent._n_updates - updates == 20


def test_the_seeds_benchmark_trains_every_agent_as_long_alone_as_at_once():
    seeds = SeedsBenchmark("MPDQN", "pamdp/Platform-v0", 2, TINY)
    before = [agent.num_timesteps for agent in seeds.apart]
    assert seeds.alone(10) > 0 and seeds.one_after_another(10) > 0 and seeds.at_once(10) > 0
    assert [agent.num_timesteps for agent in seeds.apart] == [before[0] + 20, before[1] + 10]
    assert [agent.num_timesteps for agent in seeds.together] == [before[1] + 10] * 2


def test_environments_and_files_are_measured():
    assert speed.environment_steps("pamdp/Platform-v0", 20) > 0
    assert speed.vector_environment_steps("pamdp/Platform-v0", 16, 80) > 0
    assert all(0 < seconds < 10 for seconds in speed.file_seconds("PDQN", "pamdp/Platform-v0"))


def test_the_environment_of_many_actions_is_a_proper_one():
    env = gym.make(many_actions.ENV_ID, n_actions=5)
    check_env(env.unwrapped, skip_render_check=True)
    agent = MPDQN("MlpPolicy", env)
    assert agent.parameterized_space.parameter_sizes == (2,) * 5
    observation, _ = env.reset(seed=0)
    parameters = [np.full(2, 9.0)] * 4 + [observation[:2]]
    assert env.step((4, parameters))[1] == 0.0


# -------------------------------------------------------------------- the command line


def run(command, tmp_path, capsys, *options):
    """Runs a command on a small budget; returns what it prints, and its rows as {name: median}."""
    file = tmp_path / "rows.json"
    main([command, "--repeats", "1", "--threads", "0", "--json", str(file), *options])
    rows = json.loads(file.read_text())
    assert rows and set(rows[0]) == set(Row._fields)
    return capsys.readouterr().out, {row["what"]: row["median"] for row in rows}


def test_speed_prints_the_chosen_rows_and_writes_them(tmp_path, capsys):
    shown, rows = run("speed", tmp_path, capsys, "--steps", "20", "--only", "environment")
    assert len(rows) == 6 and all(median > 0 for median in rows.values())
    assert all(f"\n{what} " in shown for what in rows)
    with pytest.raises(SystemExit):
        main(["speed", "--threads", "0", "--only", "nothing like it"])


def test_speed_compares_with_a_baseline_of_the_same_environment_and_with_the_products():
    entries = speed.measurements(10, "a command")
    names = [what for entry in entries for what, _ in entry.names]
    assert len(names) == len(set(names))
    derived = {entry.names[0][0]: entry.of for entry in entries if isinstance(entry, Derived)}
    for env_id in PUBLISHED:
        learner, baseline = f"{env_id}: PDQN learner, 64 updates in a call", f"{env_id}: baseline learner"
        assert derived[f"{learner} / baseline learner"] == (learner, baseline)
        products_alone = f"{env_id}: PDQN matrix products of one update, alone"
        assert derived[f"{learner} / its matrix products alone"] == (learner, products_alone)
    assert all(set(of) <= set(names) for of in derived.values())
    assert not any("baseline" in what for entry in speed.measurements(10, None) for what, _ in entry.names)


def test_scaling_prints_a_line_for_each_point(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scaling, "points", lambda: [scaling.Point("PDQN", 3, (128,), 128)])
    monkeypatch.setattr(scaling, "FUSED", (2,))  # each number of updates is compiled for seconds
    shown, rows = run("scaling", tmp_path, capsys, "--seconds", "0.01")
    assert shown.splitlines()[1].startswith("PDQN, K=3, hidden (128,), batch 128 ")
    assert len(rows) == 7 and all(median > 0 for median in rows.values())


def test_scaling_compares_every_point_with_one_that_is_measured():
    points = scaling.points()
    assert len(points) == len(set(points)) and {point.base() for point in points} <= set(points)


def test_profile_prints_parts_that_add_up_to_the_step(tmp_path, capsys):
    shown, rows = run("profile", tmp_path, capsys, "--steps", "30", "--algo", "PDQN")
    *parts, beyond, whole, without = rows.values()
    assert all(part > 0 for part in [*parts, whole, without])
    assert sum(parts) + beyond == pytest.approx(whole)
    assert list(rows) == [label for label, _, _ in step_profile.PARTS] + list(step_profile.OTHERS)
    assert all(f"\n{label} " in shown for label in rows)
