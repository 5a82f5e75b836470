"""Schedules: settings as functions of the progress that remains."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf
from toy_environments import Corridor, Target

from pamdp_agents import MPDQN, PDQN, schedules
from pamdp_agents.exploration import GaussianNoise
from pamdp_agents.files import SavedFileError
from pamdp_agents.schedules import LinearSchedule, linear_schedule

SMALL = {"policy_kwargs": {"net_arch": [8]}, "learning_starts": 4, "batch_size": 4, "seed": 0}


def square(progress_remaining):
    return 0.01 * progress_remaining**2


def followed(agent, steps, read):
    """What `read` gives after each step of a training."""
    values = []
    agent.learn(steps, callback=lambda *_: values.append(read()))
    return values


def test_linear_schedule_stays_at_its_ends():
    values = [linear_schedule(1.0, 0.2, done) for done in (-0.1, 0.0, 0.5, 1.0, 3.0)]
    np.testing.assert_allclose(values, [1.0, 1.0, 0.6, 0.2, 0.2])


def test_a_linear_schedule_ends_after_its_fraction_of_the_training():
    schedule = LinearSchedule(start=1.0, end=0.5, end_fraction=0.25)
    values = [schedule(remaining) for remaining in (1, 0.875, 0.75, 0.3, 0)]
    np.testing.assert_allclose(values, [1, 0.75, 0.5, 0.5, 0.5])


def test_a_learning_rate_that_falls_to_zero_stops_the_weights_it_moves_and_nothing_is_traced_again():
    def step(progress_remaining):
        return 1e-2 if progress_remaining > 0.5 else 0.0

    agent = PDQN("MlpPolicy", Target(), learning_rate=step, actor_learning_rate=1e-2, **SMALL)
    q, actor = agent.learner.networks["q"].size, agent.learner.networks["actor"].size
    states = followed(agent, 40, lambda: agent.learner.state.numpy())
    actor_weights = slice(4 * q, 4 * q + actor)
    assert not np.array_equal(states[18][:q], states[10][:q])
    np.testing.assert_array_equal(states[39][:q], states[21][:q])
    assert not np.array_equal(states[39][actor_weights], states[21][actor_weights])
    assert agent.learner.traces == 1


def test_the_first_step_of_adam_is_the_learning_rate_of_the_moment():
    agent = PDQN("MlpPolicy", Target(), learning_rate=square, max_grad_norm=None, **SMALL)
    states = followed(agent, 10, lambda: agent.learner.state.numpy())
    # The first update is after step 5 of 10; Adam's first step has the size of the learning rate.
    moved = np.abs(states[5] - states[4])[: agent.learner.networks["q"].size]
    assert moved.max() == pytest.approx(0.01 * 0.5**2, rel=1e-3)


@pytest.mark.parametrize("settings", [{"train_freq": 7}, {"train_freq": (1, "episode")}], ids=str)
def test_schedules_never_see_less_than_nothing_remaining(settings):
    seen = []

    def falling(progress_remaining):
        seen.append(progress_remaining)
        return 1e-3 * progress_remaining

    settings = {"learning_rate": falling, "exploration_schedule": falling} | settings
    agent = PDQN("MlpPolicy", Corridor(length=7), **settings, **SMALL)
    agent.learn(10)
    assert agent.num_timesteps == 14 and min(seen) == 0
    envs = gym.vector.SyncVectorEnv([Corridor] * 3)
    PDQN("MlpPolicy", envs, learning_rate=falling, **SMALL).learn(10)


def test_a_loaded_agent_explores_as_at_the_moment_of_saving(tmp_path):
    noise = {"name": "gaussian", "sigma": LinearSchedule(0.5, 0.0)}
    agent = PDQN("MlpPolicy", Corridor(), action_noise=noise, **SMALL).learn(50)
    agent.save(tmp_path / "agent")
    loaded = PDQN.load(tmp_path / "agent")
    assert loaded.action_noise.progress_remaining == 0
    assert loaded._current_progress_remaining == 0


def test_rates_are_logged_as_they_are():
    rows = []
    agent = PDQN("MlpPolicy", Target(), learning_rate=square, **SMALL)
    dump = agent.logger.dump
    agent.logger.dump = lambda step=0: (rows.append(dict(agent.logger.name_to_value)), dump(step))
    agent.set_logger(agent.logger)
    agent.learn(10, log_interval=1)
    assert rows[-1]["train/learning_rate"] == pytest.approx(square(0.0))
    assert rows[6]["train/learning_rate"] == pytest.approx(square(0.3))
    assert rows[6]["train/actor_learning_rate"] == 1e-4


def test_epsilon_follows_its_schedule_and_a_continued_training_goes_on_with_it():
    agent = PDQN(
        "MlpPolicy", Corridor(), exploration_schedule=lambda remaining: remaining**2, **SMALL | {"learning_starts": 99}
    )
    values = followed(agent, 10, lambda: agent.exploration_rate)
    np.testing.assert_allclose(values, (1 - np.arange(10) / 10) ** 2)
    agent.learn(10, callback=lambda *_: values.append(agent.exploration_rate), reset_num_timesteps=False)
    np.testing.assert_allclose(values[10:], (1 - np.arange(10, 20) / 20) ** 2)


@pytest.mark.parametrize("name", ["gaussian", "ornstein_uhlenbeck"])
def test_noise_follows_its_schedule(name):
    noise = {"name": name, "sigma": LinearSchedule(1.0, 0.0, 0.5)}
    agent = PDQN("MlpPolicy", Corridor(length=1), action_noise=noise, **SMALL | {"learning_starts": 999})
    x0 = agent.acting.decide(np.zeros((1, 1), "f")).x
    agent.learn(400)
    moves = np.abs(agent.replay_buffer.rows[:400, agent.row.places["x"]] - x0)[:, 0]
    assert moves[:100].mean() > 2 * moves[100:200].mean() > 0
    np.testing.assert_allclose(moves[201:], 0, atol=0.01)


def test_linear_schedules_are_saved_as_json_and_loaded_without_trust(tmp_path):
    settings = {
        "learning_rate": LinearSchedule(1e-3, 1e-5),
        "actor_learning_rate": {"start": 1e-3, "end": 0.0, "end_fraction": 0.5},
        "exploration_schedule": LinearSchedule(1.0, 0.1),
        "action_noise": GaussianNoise(LinearSchedule(0.3, 0.0)),
    }
    MPDQN("MlpPolicy", Target(), **settings, **SMALL).save(tmp_path / "agent")
    loaded = MPDQN.load(tmp_path / "agent")
    for name in ("learning_rate", "exploration_schedule"):
        assert vars(getattr(loaded, name)) == vars(settings[name])
    assert loaded.actor_learning_rate(0.75) == pytest.approx(5e-4)
    assert loaded.action_noise.sigma(0.5) == pytest.approx(0.15)


def test_a_schedule_may_give_an_array_or_tensor_of_one_number():
    for kind in (np.float32, np.array, tf.constant):
        assert schedules.get("learning_rate", lambda remaining, kind=kind: kind(0.5))(1.0) == 0.5


def test_a_users_function_is_pickled_and_not_read_if_another_is_given(tmp_path):
    agent = MPDQN("MlpPolicy", Target(), learning_rate=square, **SMALL)
    agent.save(tmp_path / "agent")
    with pytest.raises(SavedFileError, match=r"\['learning_rate'\].*trust=True"):
        MPDQN.load(tmp_path / "agent")
    assert MPDQN.load(tmp_path / "agent", trust=True).learning_rate(0.5) == square(0.5)
    # What RL Zoo hands in when it loads; SB3 ignores names that the file does not hold.
    replaced = {"learning_rate": 0.0, "lr_schedule": square, "clip_range": square}
    assert MPDQN.load(tmp_path / "agent", custom_objects=replaced).learning_rate == 0.0


@pytest.mark.parametrize(
    "kind, attributes, expected",
    [
        ("ConstantSchedule", {"val": 0.3}, 0.3),
        ("FloatSchedule", {"value_schedule": 0.3}, 0.3),
        ("LinearSchedule", {"start": 0.3, "end": 0.1, "end_fraction": 0.5}, (0.3, 0.1, 0.5)),
        ("SimpleLinearSchedule", {"initial_value": 0.3}, (0.3, 0.0, 1.0)),
    ],
)
def test_other_libraries_schedules_become_plain_ones(kind, attributes, expected):
    given = type(kind, (SimpleNamespace,), {"__call__": lambda self, remaining: 0.3})(**attributes)
    read = schedules.get("learning_rate", given)
    assert (read if isinstance(read, float) else (read.start, read.end, read.end_fraction)) == expected
