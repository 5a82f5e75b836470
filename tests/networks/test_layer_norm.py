"""Layer normalisation in the hidden layers, in TensorFlow and in NumPy; and weight decay, which is an L2 penalty."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from toy_environments import Target

from pamdp_agents import MPDQN, PADDPG, PDQN, SPDQN
from pamdp_agents.networks.layers import NORM_EPSILON, normalized, normalized_in_numpy

ARCH = {"net_arch": [7, 6], "layer_norm": True}
AGENTS = [PDQN, MPDQN, SPDQN, PADDPG]


def make(agent_class, policy_kwargs=ARCH, **settings):
    settings = {"learning_starts": 5, "batch_size": 4, "buffer_size": 50, "seed": 0} | settings
    return agent_class("MlpPolicy", Target(), policy_kwargs=policy_kwargs, **settings)


def scattered(network):
    """Weights that are all different, gammas, betas and biases too."""
    return np.random.default_rng(0).normal(0.3, 0.8, network.size).astype("f")


def test_a_norm_is_that_of_keras():
    rng = np.random.default_rng(0)
    h, gamma, beta = (rng.normal(2, 3, shape).astype("f") for shape in ((4, 6), (6,), (6,)))
    layer = keras.layers.LayerNormalization(epsilon=NORM_EPSILON)
    layer.build(h.shape)
    layer.set_weights([gamma, beta])
    np.testing.assert_allclose(normalized(tf.constant(h), gamma, beta), layer(h), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(normalized_in_numpy(h.copy(), gamma, beta), layer(h), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("agent_class", AGENTS)
def test_networks_are_alike_in_tensorflow_and_in_numpy(agent_class):
    agent = make(agent_class)
    rng = np.random.default_rng(1)
    s = rng.uniform(-1, 1, (9, 2)).astype("f")
    n_outputs = agent.networks["actor"](tf.constant(scattered(agent.networks["actor"])), s).shape[1]
    x = rng.uniform(-1, 1, (9, n_outputs)).astype("f")
    for name, given in (("actor", (s,)), ("q", (s, x))):
        network = agent.networks[name]
        flat = scattered(network)
        in_tensorflow = network(tf.constant(flat), *given)
        np.testing.assert_allclose(network.in_numpy(flat)(*given), in_tensorflow, rtol=1e-4, atol=1e-4, err_msg=name)
        gamma = [i for i, each in enumerate(network.names) if each.endswith("gamma")]
        assert len(gamma) == 2, network.names
        parts = network.split(flat.copy())
        parts[gamma[1]][:] = 0  # then nothing of the input is left
        values = network.in_numpy(network.join(parts))(*given)
        np.testing.assert_allclose(values - values[:1], 0, atol=1e-6)


def test_a_layer_normalises_what_goes_into_its_activation():
    agent = make(PDQN, {"net_arch": [5], "layer_norm": True, "activation_fn": "tanh"})
    parts = agent.get_parameters()["actor"]
    assert list(parts) == [f"hidden_0/{name}" for name in ("kernel", "bias", "gamma", "beta")] + [
        "output/kernel",
        "output/bias",
    ]
    np.testing.assert_array_equal(parts["hidden_0/gamma"], 1)
    np.testing.assert_array_equal(parts["hidden_0/beta"], 0)
    s = np.random.default_rng(0).uniform(-1, 1, (3, 2)).astype("f")
    h = s @ parts["hidden_0/kernel"]
    h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
    expected = np.tanh(h) @ parts["output/kernel"]
    got = agent.networks["actor"].in_numpy(agent.learner.weights()["actor"])(s)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-9)


def test_the_actions_networks_are_still_apart():
    agent = make(SPDQN)
    network, space = agent.networks["q"], agent.parameterized_space
    s, x = tf.ones((2, 2)), tf.fill((2, space.parameter_size), 0.3)
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = network(tf.constant(scattered(network)), s, x)
    assert np.all(tape.batch_jacobian(values, x).numpy()[:, ~space.mask] == 0)


@pytest.mark.parametrize("agent_class", AGENTS)
def test_norms_learn_and_are_saved(agent_class, tmp_path):
    agent = make(agent_class)
    before = agent.get_parameters()
    agent.learn(14).save(tmp_path / "agent")
    after = agent_class.load(tmp_path / "agent").get_parameters()
    for group in ("q", "actor", "q_target", "actor_target"):
        changed = [name for name in before[group] if (after[group][name] != before[group][name]).any()]
        assert {"hidden_0/gamma", "hidden_1/beta"} <= set(changed), group


def test_a_norm_of_no_layers_is_refused():
    with pytest.raises(ValueError, match=r"layer_norm=True .* there are none: net_arch=\[\]"):
        make(PDQN, {"net_arch": [], "layer_norm": True})
    agent = make(PDQN, {"net_arch": {"pi": [], "qf": [4]}, "layer_norm": True})
    assert "hidden_0/gamma" in agent.get_parameters()["q"]
    with pytest.raises(TypeError, match="layer_norm must be True or False, got 'yes'"):
        make(PDQN, {"layer_norm": "yes"})
