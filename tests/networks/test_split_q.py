"""SP-DQN's Q-network: each action's value depends on its own parameters and weights only."""

import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents.networks import layers
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.networks.split_q import SplitQ

SIZES = (2, 0, 3, 1)


def make(sizes=SIZES, **arguments):
    return SplitQ(5, mask_of(sizes), net_arch=[7, 6], **arguments)


def mask_of(sizes):
    return np.repeat(np.eye(len(sizes), dtype=bool), sizes, axis=1)


def inputs(sizes=SIZES, n=4, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(tf.constant(rng.uniform(-1, 1, (n, size)).astype("f")) for size in (5, sum(sizes)))


def owner_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("narrow", [0, 3])
@pytest.mark.parametrize("sizes", [SIZES, (1, 1, 1), (4, 4), (0, 0)])
def test_each_value_is_that_of_a_network_on_the_observation_and_its_own_parameters(sizes, narrow, monkeypatch):
    monkeypatch.setattr(layers, "NARROW", narrow)
    q, (s, x) = make(sizes), inputs(sizes)
    expected = []
    for k in range(len(sizes)):
        h = np.concatenate([s, x.numpy()[:, owner_of(sizes) == k]], 1)
        for layer in q.hidden:
            h = np.maximum(h @ layer.kernel[k].numpy()[: h.shape[1]] + layer.bias[k], 0)
        expected.append(h @ q.out.kernel[k].numpy()[:, 0] + q.out.bias[k])
    np.testing.assert_allclose(q(s, x), np.transpose(expected), rtol=1e-5, atol=1e-6)
    network = FlatNetwork(q)
    np.testing.assert_allclose(network.in_numpy(network.initial())(s.numpy(), x.numpy()), q(s, x), rtol=1e-5, atol=1e-6)


def test_the_derivative_with_respect_to_another_actions_parameters_is_exactly_0():
    q, (s, x) = make(), inputs()
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = q(s, x)
    derivative = tape.batch_jacobian(values, x).numpy()
    own = owner_of(SIZES) == np.arange(len(SIZES))[:, None]
    assert np.all(derivative[:, ~own] == 0)
    assert np.all(np.any(derivative[:, own] != 0, axis=0))


def test_for_given_actions_it_gives_their_values():
    q, (s, x) = make(), inputs()
    k = tf.constant([2, 0, 3, 1])
    np.testing.assert_allclose(q(s, x, k), q(s, x).numpy()[range(4), k], rtol=1e-6)


def test_kernels_start_as_if_each_network_were_alone_and_differ():
    q = SplitQ(50, mask_of((2, 2, 0)), net_arch=[400])
    kernel = q.hidden[0].kernel.numpy()
    for k, inputs_of_k in enumerate((52, 52, 50)):
        assert kernel[k, :inputs_of_k].std() == pytest.approx(np.sqrt(2 / inputs_of_k), rel=0.05)
    assert np.all(kernel[2, 50:] == 0)
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1
    assert np.abs(q.out.kernel).max() <= 1 / np.sqrt(400)


def test_a_users_initialiser_may_be_any_function_of_a_shape():
    q = make(output_initializer=lambda shape, dtype=None: tf.ones(shape, dtype))
    np.testing.assert_array_equal(q.out.kernel, np.ones((4, 6, 1)))


def test_gradients_are_the_same_with_sums_and_with_products(monkeypatch):
    q, (s, x) = make(), inputs()
    gradients = []
    for narrow in (0, 3):
        monkeypatch.setattr(layers, "NARROW", narrow)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(q(s, x)))
        gradients.append(tape.gradient(loss, [x, *q.trainable_variables]))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("narrow", [0, 3])
def test_networks_that_share_parameters_each_get_their_own_and_gradients_add_up(narrow, monkeypatch):
    monkeypatch.setattr(layers, "NARROW", narrow)
    mask = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], bool)
    q = SplitQ(5, mask, net_arch=[7, 6], activation_fn="tanh")
    s, x = inputs((3,))

    def one_by_one(s, x):
        values = []
        for k, row in enumerate(mask):
            h = tf.concat([s, tf.boolean_mask(x, row, axis=1)], 1)
            for layer in q.hidden:
                h = tf.tanh(h @ layer.kernel[k][: h.shape[1]] + layer.bias[k])
            values.append(h @ q.out.kernel[k] + q.out.bias[k])
        return tf.concat(values, 1)

    results = []
    for function in (q, one_by_one):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = function(s, x)
            loss = tf.reduce_sum(tf.square(values))
        results.append([values, tape.gradient(loss, x)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    network = FlatNetwork(q)
    np.testing.assert_allclose(network.in_numpy(network.initial())(s.numpy(), x.numpy()), q(s, x), atol=1e-5)
