"""PA-DDPG: its update against numbers worked out by hand, and what it stores and explores."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents import PADDPG
from pamdp_agents.strategies import StrategyContext

CASE = json.loads((Path(__file__).parents[1] / "data" / "paddpg_update.json").read_text())


class Spaces(gym.Env):
    """An environment of which only the spaces are needed."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Tuple(
        (gym.spaces.Discrete(2), gym.spaces.Tuple([gym.spaces.Box(-1, 1, (1,)) for _ in range(2)]))
    )


def make_agent(**changes):
    settings = {
        name: value for name, value in CASE["settings"].items() if name not in ("n_observations", "parameter_sizes")
    }
    policy_kwargs = {name: settings.pop(name) for name in ("net_arch", "activation_fn")}
    settings |= {"passthrough": CASE["passthrough"], "policy_kwargs": policy_kwargs, "batch_size": 2, "seed": 0}
    return PADDPG("MlpPolicy", Spaces(), **settings | changes)


def make_agent_of_the_case():
    agent = make_agent()
    initial = {group: {name: np.array(w, "f") for name, w in ws.items()} for group, ws in CASE["initial"].items()}
    targets = {f"{group}_target": weights for group, weights in initial.items()}
    agent.set_parameters(initial | targets, exact_match=False)
    return agent


def rows(batch):
    discount = 1 - np.asarray(batch["d"])
    parts = [batch[part] for part in ("s", "k", "x", "r", "s2")]
    return np.column_stack([*parts, discount, batch["a"]]).astype("f")[None]


def test_three_updates_are_those_worked_out_by_hand():
    agent = make_agent_of_the_case()
    for step in CASE["steps"]:
        metrics, _ = agent.learner.train(rows(step["batch"]), agent.current_inputs())
        losses = dict(zip(agent.metric_names, metrics.numpy(), strict=True))
        assert losses["critic_loss"] == pytest.approx(step["critic_loss"], rel=1e-4)
        parameters = agent.get_parameters()
        for group, weights in step["after"].items():
            for name, values in weights.items():
                np.testing.assert_allclose(parameters[group][name], values, atol=2e-5, err_msg=f"{group}: {name}")


def test_the_strategy_sees_scores_and_parameters_with_their_owners_and_bounds():
    seen = []

    def strategy(gradient, context: StrategyContext):
        seen.append((gradient.shape, *map(tf.get_static_value, (context.mask, context.high))))
        return gradient * 0

    agent = make_agent(strategy=strategy)
    before = agent.get_parameters()["actor"]
    agent.learner.train(rows(CASE["steps"][0]["batch"]), agent.current_inputs())
    [(shape, mask, high)] = seen
    assert shape == (2, 4)
    np.testing.assert_array_equal(mask, [[1, 0, 1, 0], [0, 1, 0, 1]])
    np.testing.assert_array_equal(high, [1] * 4)
    for name, values in agent.get_parameters()["actor"].items():
        np.testing.assert_array_equal(values, before[name])


def test_the_passthrough_is_of_the_parameters_and_not_of_the_scores():
    agent = make_agent(policy_kwargs={"net_arch": [4], "actor_output_initializer": "zeros"})
    s = np.array([[0.5, -0.5]], "f")
    decision = agent.acting.decide(s)
    np.testing.assert_array_equal(decision.extras["scores"], [[0, 0]])
    np.testing.assert_allclose(
        decision.x, s @ np.transpose(CASE["passthrough"]["weight"]) + CASE["passthrough"]["bias"], atol=1e-6
    )


@pytest.mark.parametrize("wrong", [{"bias": [0.1]}, {"bias": 3.0}, {"weight": [0.1, 0.2]}, {"slope": [0.1, 0.2]}])
def test_a_wrong_passthrough_is_refused_in_the_parameters_own_shapes(wrong):
    with pytest.raises(ValueError, match=r"passthrough takes weight of shape \(2, 2\) and bias of shape \(2,\)"):
        make_agent(passthrough=wrong)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_the_action_is_that_of_the_highest_stored_score(epsilon):
    agent = PADDPG(
        "MlpPolicy",
        "pamdp/Platform-v0",
        learning_starts=0,
        exploration_initial_eps=epsilon,
        exploration_final_eps=epsilon,
        buffer_size=200,
        batch_size=8,
        seed=0,
    ).learn(200)
    batch = agent.row.unpack(agent.replay_buffer.rows)
    scores = batch.extras["scores"]
    np.testing.assert_array_equal(scores.argmax(1), batch.k)
    if epsilon:
        assert np.all(np.abs(scores) <= 1)
        np.testing.assert_allclose(scores.std(0), 1 / np.sqrt(3), atol=0.08)
        np.testing.assert_allclose(np.bincount(batch.k.astype(int)) / 200, 1 / 3, atol=0.12)
