"""The networks: shapes, initial weights, what depends on what, and NumPy equal to TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pamdp_agents.networks.activations import NUMPY_ACTIVATIONS, get_activation, numpy_activation
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.networks.parameter_actor import ParameterActor
from pamdp_agents.networks.q_networks import JointQ, MultiPassQ

SIZES = [(1, 1, 1), (2, 1, 1), (3, 0, 2), (0, 0), (4,), (0, 3)]


def inputs(sizes, n=7, n_observations=5):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, n_observations)).astype("f"), rng.normal(size=(n, sum(sizes))).astype("f")


def mask_of(sizes):
    """Each action's own parameters, one action's after the other's, bool [K, P]."""
    return np.repeat(np.eye(len(sizes), dtype=bool), sizes, axis=1)


def weights_of(model):
    return [variable.numpy() for variable in model.trainable_variables]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("q_class", [JointQ, MultiPassQ])
@pytest.mark.parametrize("net_arch", [(16,), (16, 8)])
def test_q_networks_in_numpy_equal_keras(q_class, sizes, net_arch):
    s, x = inputs(sizes)
    q = q_class(5, mask_of(sizes), net_arch)
    values = q(s, x).numpy()
    assert values.shape == (7, len(sizes))
    np.testing.assert_allclose(q.numpy_call(weights_of(q), s, x), values, atol=1e-5)
    np.testing.assert_allclose(q.numpy_call(weights_of(q), s[:1], x[:1]), values[:1], atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES)
def test_multi_pass_equals_one_joint_pass_per_action_with_the_other_parameters_zeroed(sizes):
    s, x = inputs(sizes)
    multi, joint = MultiPassQ(5, mask_of(sizes), (16, 8)), JointQ(5, mask_of(sizes), (16, 8))
    joint.set_weights(multi.get_weights())
    owner = np.repeat(np.arange(len(sizes)), sizes)
    expected = np.stack([joint(s, x * (owner == k)).numpy()[:, k] for k in range(len(sizes))], 1)
    np.testing.assert_allclose(multi(s, x).numpy(), expected, atol=1e-5)


def test_multi_pass_values_depend_on_their_own_parameters_only():
    sizes = (2, 0, 1, 3)
    s, x = map(tf.constant, inputs(sizes))
    q = MultiPassQ(5, mask_of(sizes), (16, 8), "tanh")
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = q(s, x)
    jacobian = tape.batch_jacobian(values, x).numpy()
    own = np.repeat(np.arange(4), sizes)[None] == np.arange(4)[:, None]
    assert np.all(jacobian[:, ~own] == 0)
    assert np.all(np.abs(jacobian[:, own]).max(0) > 0)


def test_joint_values_depend_on_all_parameters():
    s, x = map(tf.constant, inputs((2, 1)))
    q = JointQ(5, mask_of((2, 1)), (16,), "tanh")
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = q(s, x)
    assert np.all(np.abs(tape.batch_jacobian(values, x).numpy()).max(0) > 0)


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("activation", NUMPY_ACTIVATIONS)
def test_actor_in_numpy_equals_keras(squash, activation):
    s, _ = inputs(())
    passthrough = {"weight": np.full((3, 5), 0.1), "bias": [0.5, -0.9, 0.0]}
    actor = ParameterActor(5, 3, (16, 8), activation, keras.initializers.RandomNormal(), passthrough, squash)
    x = actor(s).numpy()
    assert x.shape == (7, 3)
    np.testing.assert_allclose(actor.numpy_call(weights_of(actor), s), x, atol=1e-5)


def test_an_actor_without_parameters_has_no_weights():
    actor = ParameterActor(5, 0)
    assert actor(np.zeros((2, 5), "f")).shape == (2, 0)
    assert FlatNetwork(actor).size == 0


@pytest.mark.parametrize("squash", [False, True])
def test_the_passthrough_sets_the_initial_parameters_with_and_without_tanh(squash):
    weight = np.zeros((3, 5))
    weight[1, 4] = 0.5
    s, _ = inputs(())
    s = np.clip(s, -1, 1)
    actor = ParameterActor(5, 3, passthrough={"weight": weight, "bias": [-0.8, 0.1, 0.86]}, squash=squash)
    expected = np.stack([np.full(7, -0.8), 0.1 + 0.5 * s[:, 4], np.full(7, 0.86)], 1)
    np.testing.assert_allclose(actor(s).numpy(), expected, atol=0.01)


def test_a_squashing_actor_stays_within_the_bounds():
    s, _ = inputs(())
    actor = ParameterActor(5, 2, output_initializer=keras.initializers.RandomNormal(stddev=10), squash=True)
    assert np.abs(actor(100 * s).numpy()).max() <= 1


@pytest.mark.parametrize("passthrough", [{"bias": [1.0]}, {"weight": np.zeros((5, 3))}, {"bias": [0, 0, 0], "gain": 2}])
def test_a_passthrough_of_the_wrong_form_is_refused(passthrough):
    with pytest.raises(ValueError, match="passthrough takes weight of shape"):
        ParameterActor(5, 3, passthrough=passthrough)


def test_published_initial_weights():
    keras.utils.set_random_seed(0)
    q, actor = JointQ(200, mask_of((1, 1)), (500,)), ParameterActor(200, 2, (500,))
    for network in (q, actor):
        kernel, bias = weights_of(network)[:2]
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / len(kernel)), rel=0.05)  # He
        assert not bias.any()
    q_kernel, q_bias = weights_of(q)[2:]
    assert np.abs(q_kernel).max() <= 1 / np.sqrt(500) and np.abs(q_kernel).max() > 0.99 / np.sqrt(500)
    assert not q_bias.any()
    assert np.std(weights_of(actor)[2]) == pytest.approx(1e-4, rel=0.1)


def test_a_flat_network_takes_its_weights_from_the_vector():
    s, x = inputs((2, 1))
    flat = FlatNetwork(MultiPassQ(5, mask_of((2, 1)), (16,)))
    initial = flat.initial()
    assert initial.shape == (flat.size,) and initial.dtype == np.float32
    np.testing.assert_allclose(flat(tf.constant(initial), s, x), flat.model(s, x), atol=1e-6)
    assert not np.any(flat(tf.zeros(flat.size), s, x))
    np.testing.assert_array_equal(flat.join(flat.split(initial)), initial)
    assert flat.names == ["hidden_0/kernel", "hidden_0/bias", "output/kernel", "output/bias"]


def test_a_leaky_relu_has_the_slope_that_is_asked_for_in_tensorflow_and_in_numpy():
    activation = get_activation({"name": "leaky_relu", "negative_slope": 0.01})
    h = np.array([[-2.0, 0.0, 3.0]], "f")
    np.testing.assert_allclose(activation(h), [[-0.02, 0, 3]], rtol=1e-6)
    np.testing.assert_allclose(numpy_activation(activation)(h.copy()), [[-0.02, 0, 3]], rtol=1e-6)
    for wrong in ({"name": "leaky_relu"}, {"name": "relu", "negative_slope": 0.1}, {"class_name": "relu"}):
        with pytest.raises(TypeError, match="activation_fn must be the name of a Keras activation"):
            get_activation(wrong)
    with pytest.raises(ValueError, match="negative_slope"):
        get_activation({"name": "leaky_relu", "negative_slope": -1})


# Parameters that several actions share ------------------------------------------------------------------------------

SHARED = [
    np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]], bool),
    np.array([[1], [1]], bool),
    np.array([[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]], bool),  # more than are multiplied as sums
]


def values_one_by_one(joint, mask, s, x):
    """Q_k of each pass, as the paper defines it: one pass per action, with all other parameters 0."""
    return tf.stack([joint(s, x * mask[k].astype("f"))[:, k] for k in range(len(mask))], 1)


@pytest.mark.parametrize("mask", SHARED, ids=lambda mask: str(mask.shape))
@pytest.mark.parametrize("net_arch", [(16,), (16, 8)])
def test_passes_over_shared_parameters_are_joint_passes_with_the_others_zeroed_and_so_are_their_gradients(
    mask, net_arch
):
    rng = np.random.default_rng(1)
    s, x = (tf.constant(rng.normal(size=(7, size)).astype("f")) for size in (5, mask.shape[1]))
    multi, joint = MultiPassQ(5, mask, net_arch, "tanh"), JointQ(5, mask, net_arch, "tanh")
    joint.set_weights(multi.get_weights())
    gradients = []
    for model, values_of in ((multi, multi), (joint, lambda s, x: values_one_by_one(joint, mask, s, x))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            values = values_of(s, x)
            loss = tf.reduce_sum(tf.square(values))
        gradients.append([values, *tape.gradient(loss, [x, *model.trainable_variables])])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    k = np.arange(7, dtype="i") % len(mask)
    np.testing.assert_allclose(multi(s, x, k), multi(s, x).numpy()[range(7), k], atol=1e-5)
    in_numpy = multi.numpy_call(weights_of(multi), s.numpy(), x.numpy())
    np.testing.assert_allclose(in_numpy, multi(s, x), atol=1e-5)


def test_a_shared_parameter_gets_the_sum_of_the_actions_gradients_by_hand():
    q = MultiPassQ(1, [[1, 0], [1, 1]], (1,), "linear")
    # One linear unit: h = 2s + 3x_0 + 5x_1, Q_0 = 7h in pass 0 (x_1 = 0) and Q_1 = 11h in pass 1.
    q.set_weights([np.array([[2], [3], [5]], "f"), np.zeros(1, "f"), np.array([[7, 11]], "f"), np.zeros(2, "f")])
    s, x = tf.constant([[1.0]]), tf.constant([[10.0, 100.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = q(s, x)
        total = tf.reduce_sum(values)
    assert values.numpy().tolist() == [[7 * (2 + 30), 11 * (2 + 30 + 500)]]
    assert tape.gradient(total, x).numpy().tolist() == [[7 * 3 + 11 * 3, 11 * 5]]
