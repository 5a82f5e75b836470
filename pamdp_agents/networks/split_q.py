"""SP-DQN's Q-network: for each discrete action a network of its own, on the observation and that action's parameters.

The K networks have the same hidden layers, so one layer of all of them is one batched matrix product: the axes are
[K, n, units], the actions first, and nothing has to be transposed on the way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from pamdp_agents.networks import layers
from pamdp_agents.networks.activations import Array, get_activation
from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.initializers import UNIFORM_FAN_IN, Initializer, get_initializer
from pamdp_agents.networks.layers import check_net_arch, dense, norm_weights, normalized, normalized_in_numpy
from pamdp_agents.networks.models import NumPyModel
from pamdp_agents.networks.owners import Owners
from pamdp_agents.networks.q_networks import values_of


class PerActionDense(keras.layers.Layer):
    """A Dense layer for each discrete action: K kernels and biases, each for inputs of its own.

    Each kernel starts as if it were alone, from the initialiser called with its own shape. Where an action has fewer
    inputs than another, the rows left over are 0 and meet inputs that are 0, so that they stay 0.

    Args:
        n_inputs: Number of inputs of each action.
        units: Outputs of each action.
        activation: Activation, or None.
        kernel_initializer: Initialiser of the kernels. One with a seed starts kernels of the same shape alike.
        name: The layer's name.
        layer_norm: Normalise before the activation, with a gamma and a beta for each action.

    Attributes:
        kernel: float32 [K, max n_inputs, units].
        bias: float32 [K, units].
    """

    def __init__(
        self,
        n_inputs: Sequence[int],
        units: int,
        activation: str | Callable | None,
        kernel_initializer: Initializer,
        name: str,
        layer_norm: bool = False,
    ):
        super().__init__(name=name)
        self.units, self.activation = units, keras.activations.get(activation)
        initializer, most = get_initializer(kernel_initializer), max(n_inputs)

        def initial(shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
            kernels = [_renewed(initializer)((inputs, units), dtype) for inputs in n_inputs]
            return tf.stack([tf.pad(kernel, [[0, most - kernel.shape[0]], [0, 0]]) for kernel in kernels])

        self.kernel = self.add_weight(shape=(len(n_inputs), most, units), initializer=initial, name="kernel")
        self.bias = self.add_weight(shape=(len(n_inputs), units), initializer="zeros", name="bias")
        self.layer_norm = layer_norm
        if layer_norm:
            self.gamma, self.beta = norm_weights(self, (len(n_inputs), units))
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps each action's inputs [K, n, max n_inputs] to [K, n, units]."""
        return self.finish(tf.matmul(inputs, self.kernel) + self.bias[:, None])

    def finish(self, h: tf.Tensor) -> tf.Tensor:
        """Does what follows on the products and the bias: the norm, if there is one, and the activation."""
        return self.activation(normalized(h, self.gamma[:, None], self.beta[:, None]) if self.layer_norm else h)


def _renewed(initializer: Any) -> Any:
    """Returns a new initialiser like this one, for Keras's return the same numbers when called again."""
    return initializer.clone() if isinstance(initializer, keras.Initializer) else initializer


class SplitQ(NumPyModel):
    """SP-DQN's Q-network: K separate networks, Q_k(s, x) = network k on [s, x_k]; they share no weights.

    So dQ_k/dx_j = 0 for j ≠ k. A features extractor, if there is one, is the only part that all actions share.

    Args:
        n_observations: Size of the observation.
        parameter_mask: bool [K, P], which parameters belong to which discrete action. Where no parameter belongs to
            several, those of action 0 come first, then those of action 1, and so on.
        net_arch: Units of each hidden layer of each network; none for linear ones.
        activation_fn: Activation of the hidden layers.
        output_initializer: Initialiser of the output layers' kernels, [units, 1] each; default uniform ±1/√fan_in.
        features_extractor: What the networks get in place of the observation.
        layer_norm: Normalise in the hidden layers.

    References:
        Bester, James & Konidaris 2019, "Multi-Pass Q-Networks for Deep Reinforcement Learning with Parameterised
        Action Spaces" (arXiv 1905.04388), section 4: its "naïve solution", SP-DQN.
    """

    def __init__(
        self,
        n_observations: int,
        parameter_mask: ArrayLike,
        net_arch: Sequence[int] = (256,),
        activation_fn: str | Callable = "relu",
        output_initializer: Initializer | None = None,
        features_extractor: FeaturesExtractor | None = None,
        layer_norm: bool = False,
    ):
        activation = get_activation(activation_fn)
        super().__init__("q", activation, features_extractor)
        net_arch, self.layer_norm = check_net_arch(net_arch), layer_norm
        self.n_features = n_observations if features_extractor is None else features_extractor.n_features
        self.owners = Owners(parameter_mask)
        n_inputs = [
            [self.n_features + size for size in self.owners.sizes],
            *([units] * self.owners.n_actions for units in net_arch),
        ]
        self.hidden = [
            PerActionDense(inputs, units, activation, "he_normal", f"hidden_{i}", layer_norm)
            for i, (inputs, units) in enumerate(zip(n_inputs[:-1], net_arch, strict=True))
        ]
        self.out = PerActionDense(n_inputs[-1], 1, None, output_initializer or UNIFORM_FAN_IN, name="output")
        self.built = True

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        first, *others = (*self.hidden, self.out)
        owners = self.owners
        # Not left to broadcasting, whose products take XLA a tenth of an update longer.
        features = tf.tile(self.features(observation)[None], (owners.n_actions, 1, 1))
        if owners.n_parameters:
            kernel, own_kernel = tf.split(first.kernel, [self.n_features, owners.largest], axis=1)
            own_x = owners.per_action(tf.transpose(x))
            product = _few_product if owners.largest <= layers.NARROW else _product
            h = tf.matmul(features, kernel) + first.bias[:, None] + product(own_x, own_kernel)
            h = first.finish(h)
        else:
            h = first(features)
        for layer in others:
            h = layer(h)
        values = tf.transpose(h[:, :, 0])
        return values if k is None else values_of(values, k)

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """Returns the same in NumPy, for the given weights (in the order of `trainable_variables`)."""
        activation, n, owners = self._require_numpy(), self.n_features, self.owners
        h = np.zeros((owners.n_actions, len(observation), n + owners.largest), np.float32)
        h[:, :, :n] = observation
        if owners.shared:
            h[:, :, n:] = owners.per_action_in_numpy(x.T).transpose(0, 2, 1)
        else:
            for k, (end, size) in enumerate(zip(itertools.accumulate(owners.sizes), owners.sizes, strict=True)):
                h[k, :, n : n + size] = x[:, end - size : end]
        for i in range(0, len(weights) - 2, 4 if self.layer_norm else 2):
            h = dense(h, weights[i], weights[i + 1][:, None])
            if self.layer_norm:
                h = normalized_in_numpy(h, weights[i + 2][:, None], weights[i + 3][:, None])
            h = activation(h)
        return dense(h, weights[-2], weights[-1][:, None])[:, :, 0].T


def _product(own_x: tf.Tensor, own_kernel: tf.Tensor) -> tf.Tensor:
    """Returns each action's parameters [K, m, n] times their rows [K, m, units]: [K, n, units]."""
    return tf.matmul(own_x, own_kernel, transpose_a=True)


@tf.custom_gradient
def _few_product(own_x: tf.Tensor, own_kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Returns the same for few parameters, as a sum over them: XLA is slow at products that are narrow."""
    columns = list(zip(tf.unstack(own_x, axis=1), tf.unstack(own_kernel, axis=1), strict=True))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_x = tf.stack([tf.matmul(upstream, row[:, :, None])[:, :, 0] for _, row in columns], 1)
        return of_x, tf.matmul(own_x, upstream)

    return tf.add_n([x[:, :, None] * row[:, None, :] for x, row in columns]), gradient
