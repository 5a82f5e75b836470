"""Every agent acts: `predict` gives what `step` takes, and an exported policy gives the same."""

import json

import numpy as np
import pytest
import tensorflow as tf
from small_agents import Task, make, numbers, observations

from pamdp_agents.evaluation import evaluate_policy


def test_one_action_for_one_observation_and_a_list_of_n_for_n(varied):
    rows = observations(varied)
    for deterministic in (True, False):
        actions, state = varied.predict(rows, deterministic=deterministic)
        assert isinstance(actions, list) and len(actions) == len(rows) and state is None
        assert all(varied.action_space.contains(action) for action in actions)
        action, state = varied.predict(rows[0], deterministic=deterministic)
        assert varied.action_space.contains(action) and state is None
    assert varied.predict(rows[:0])[0] == []
    assert len(varied.predict(rows[:1])[0]) == 1


def test_a_deterministic_action_is_the_same_every_time_alone_and_among_others(varied):
    rows = observations(varied)
    first, second = (varied.predict(rows, deterministic=True)[0] for _ in range(2))
    np.testing.assert_array_equal([numbers(action) for action in first], [numbers(action) for action in second])
    for row, action in zip(rows, first, strict=True):
        np.testing.assert_allclose(numbers(varied.predict(row, deterministic=True)[0]), numbers(action), rtol=1e-5)
    assert len({action[0] for action in first}) > 1  # or this would show little
    assert len({tuple(numbers(action)) for action in first}) > 20


def test_other_actions_explore(varied):
    [row] = observations(varied, 1)
    assert len({tuple(numbers(varied.predict(row)[0])) for _ in range(20)}) > 10


def test_a_state_is_passed_through(varied):
    [row] = observations(varied, 1)
    state = (np.zeros(2),)
    assert varied.predict(row, state=state, episode_start=np.zeros(1, bool))[1] is state


def test_observations_that_are_none_are_refused(agent_class):
    agent = make(agent_class, Task())
    for wrong in (np.zeros(4), np.zeros((2, 2)), np.array([np.nan, 0, 0])):
        with pytest.raises(ValueError, match=r"(?i)(shape|finite)"):
            agent.predict(wrong)


@pytest.mark.parametrize("format", ["saved_model", "tflite"])
def test_an_exported_policy_gives_its_actions(varied, tmp_path, format):
    varied.export(tmp_path / "policy", format=format)
    rows = observations(varied)
    if format == "tflite":
        policy = tf.lite.Interpreter(str(tmp_path / "policy.tflite")).get_signature_runner()
        outputs = policy(observation=rows.astype("f"))
    else:
        description = json.loads((tmp_path / "policy" / "assets.extra" / "policy.json").read_text())
        policy = tf.saved_model.load(str(tmp_path / "policy")).signatures["serving_default"]
        outputs = policy(observation=tf.constant(rows, description["inputs"][0]["dtype"]))
        outputs = {name: value.numpy() for name, value in outputs.items()}
    expected = np.array([numbers(action) for action in varied.predict(rows, deterministic=True)[0]])
    np.testing.assert_array_equal(outputs["action"], expected[:, 0])
    boxes = varied.action_space[1].spaces
    low, high = (np.concatenate([getattr(box, side) for box in boxes]) for side in ("low", "high"))
    error = np.abs(outputs["parameters"] - expected[:, 1:]) / (high - low)
    assert error.max() <= 1e-5
    assert np.ptp(outputs["parameters"], axis=0).min() > 0


def test_an_evaluation_plays_whole_episodes_and_can_be_repeated(varied):
    one, two = (
        evaluate_policy(varied, "pamdp/Platform-v0", n_eval_episodes=3, return_episode_rewards=True, seed=5)
        for _ in range(2)
    )
    assert one == two and len(one[0]) == 3 and min(one[1]) >= 1
