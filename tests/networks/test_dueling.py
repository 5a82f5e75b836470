"""Dueling heads: values of a state's value and advantages, in TensorFlow and in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from toy_environments import Target

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.networks.q_networks import JointQ, MultiPassQ

SIZES = (2, 0, 1)
OWNER = np.repeat(np.arange(3), SIZES)


def make(q_class, net_arch=(7, 6)):
    """A network whose weights, biases too, are all different."""
    mask = np.repeat(np.eye(3, dtype=bool), SIZES, axis=1)
    network = FlatNetwork(q_class(5, mask, net_arch, dueling=True))
    weights = np.random.default_rng(0).normal(0, 0.5, network.size).astype("f")
    return network, weights


def inputs(n=4):
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (n, 5)).astype("f"), rng.uniform(-1, 1, (n, 3)).astype("f")


def by_the_formula(network, weights, h):
    """V + A − mean A of one pass on the inputs h, in float64."""
    parts = dict(zip(network.names, network.split(np.float64(weights)), strict=True))
    i = 0
    while f"hidden_{i}/kernel" in parts:
        h = np.maximum(h @ parts[f"hidden_{i}/kernel"] + parts[f"hidden_{i}/bias"], 0)
        i += 1
    advantages = h @ parts["output/kernel"] + parts["output/bias"]
    return h @ parts["value/kernel"] + parts["value/bias"] + advantages - advantages.mean(1, keepdims=True)


@pytest.mark.parametrize("net_arch", [(), (7,), (7, 6)], ids=str)
@pytest.mark.parametrize("q_class", [JointQ, MultiPassQ])
def test_values_are_those_of_the_formula_in_tensorflow_and_in_numpy(q_class, net_arch):
    network, weights = make(q_class, net_arch)
    s, x = inputs()
    if q_class is JointQ:
        expected = by_the_formula(network, weights, np.hstack([s, x]))
    else:  # output k of the pass with action k's parameters only
        passes = [by_the_formula(network, weights, np.hstack([s, x * (k == OWNER)])) for k in range(3)]
        expected = np.stack([passes[k][:, k] for k in range(3)], 1)
    values = network(tf.constant(weights), s, x)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network.in_numpy(weights)(s, x), expected, rtol=1e-4, atol=1e-5)
    for k in range(3):
        of_k = network(tf.constant(weights), s, x, tf.fill([4], k))
        np.testing.assert_allclose(of_k, expected[:, k], rtol=1e-4, atol=1e-5)


def test_the_mean_of_the_values_is_the_states_value():
    network, weights = make(JointQ)
    s, x = inputs()
    value_of_nothing = {name: name.startswith("value") for name in network.names}
    parts = network.split(weights.copy())
    for name, part in zip(network.names, parts, strict=True):
        if value_of_nothing[name]:
            part[:] = 0
    np.testing.assert_allclose(network.in_numpy(network.join(parts))(s, x).mean(1), 0, atol=1e-6)


def test_with_passes_no_value_depends_on_others_parameters():
    network, weights = make(MultiPassQ)
    s, x = map(tf.constant, inputs())
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = network(tf.constant(weights), s, x)
    derivative = tape.batch_jacobian(values, x).numpy()
    own = np.arange(3)[:, None] == OWNER
    assert np.all(derivative[:, ~own] == 0)
    assert np.all(np.abs(derivative[:, own]).max(0) > 0)


def test_both_heads_learn_and_are_saved(tmp_path):
    kwargs = {"net_arch": [8], "dueling": True}
    agent = MPDQN("MlpPolicy", Target(), policy_kwargs=kwargs, learning_starts=5, batch_size=4, n_critics=2, seed=0)
    before = agent.get_parameters()
    agent.learn(20).save(tmp_path / "agent")
    after = MPDQN.load(tmp_path / "agent").get_parameters()
    for critic in ("q", "q2", "q_target", "q2_target"):
        for name in ("value/kernel", "value/bias", "output/kernel", "output/bias"):
            assert (after[critic][name] != before[critic][name]).any(), (critic, name)
    observations = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype("f")
    values = agent.q_values(observations).values
    x = agent.networks["actor"](agent.learner.weights()["actor"], observations)
    np.testing.assert_allclose(agent.networks["q"](agent.learner.weights()["q"], observations, x), values, atol=1e-5)


@pytest.mark.parametrize("agent_class, why", [(SPDQN, "share nothing"), (PADDPG, "one value")], ids=["SPDQN", "PADDPG"])
def test_agents_that_cannot_duel_say_why(agent_class, why):
    with pytest.raises(ValueError, match=f"dueling=True is not for {agent_class.__name__}: .*{why}"):
        agent_class("MlpPolicy", Target(), policy_kwargs={"dueling": True})
    assert agent_class("MlpPolicy", Target(), policy_kwargs={"dueling": False}).policy_kwargs == {"dueling": False}


def test_dueling_is_true_or_false():
    with pytest.raises(TypeError, match="dueling must be True or False, got 1"):
        PDQN("MlpPolicy", None, policy_kwargs={"dueling": 1})
