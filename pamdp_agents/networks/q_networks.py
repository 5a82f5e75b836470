"""Q-networks Q(s, x) → one value per discrete action: joint (P-DQN) and multi-pass (MP-DQN)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from pamdp_agents.networks import layers
from pamdp_agents.networks.activations import Array, get_activation
from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.initializers import UNIFORM_FAN_IN, Initializer, get_initializer
from pamdp_agents.networks.layers import OutputLayer, add_few, dense, hidden_layers, per_action
from pamdp_agents.networks.models import NumPyModel


class JointQ(NumPyModel):
    """P-DQN's Q-network: Q(s, x) on the observation and all parameters together, K outputs.

    Args:
        n_observations: Size of the observation.
        parameter_sizes: m_k, the number of parameters of each discrete action.
        net_arch: Units of each hidden layer; none for a linear network.
        activation_fn: Activation of the hidden layers.
        output_initializer: Initialiser of the output layer's kernel; default uniform ±1/√fan_in.
        features_extractor: What the Dense layers get in place of the observation.
    """

    def __init__(
        self,
        n_observations: int,
        parameter_sizes: Sequence[int],
        net_arch: Sequence[int] = (256,),
        activation_fn: str | Callable = "relu",
        output_initializer: Initializer | None = None,
        features_extractor: FeaturesExtractor | None = None,
    ):
        activation = get_activation(activation_fn)
        super().__init__("q", activation, features_extractor)
        self.n_features = n_observations if features_extractor is None else features_extractor.n_features
        self.parameter_sizes = tuple(parameter_sizes)
        self.hidden = hidden_layers(net_arch, activation)
        self.out = OutputLayer(
            len(self.parameter_sizes),
            kernel_initializer=get_initializer(output_initializer or UNIFORM_FAN_IN),
            name="output",
        )
        self.build_layers()

    def build_layers(self) -> None:
        """Creates the weights: kernels [in, out], the first with the features' rows before the parameters'."""
        width = self.n_features + sum(self.parameter_sizes)
        for layer in (*self.hidden, self.out):
            layer.build((None, width))
            width = layer.units
        self.built = True

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        h = self.features(observation)
        if sum(self.parameter_sizes):  # TFLite concatenates wrongly with an array of size 0
            h = tf.concat([h, x], 1)
        for layer in (*self.hidden, self.out):
            h = layer(h)
        return h if k is None else values_of(h, k)

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """Returns the same in NumPy, for the given weights (in the order of `trainable_variables`)."""
        h, activation = np.concatenate([observation, x], 1), self._require_numpy()
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = activation(dense(h, kernel, bias))
        return dense(h, *weights[-2:])


class MultiPassQ(JointQ):
    """MP-DQN's Q-network: K passes, pass k with all parameters but x_k set to 0; Q_k is output k of pass k.

    The weights are those of `JointQ`. In the first layer the part of the observation, or of its features, is the
    same in every pass and x_k meets only its own rows, so both are computed once; of the output layer only the K values
    asked for are. Where one action of each row is asked for, its pass is the only one.

    References:
        Bester, James & Konidaris 2019, "Multi-Pass Q-Networks for Deep Reinforcement Learning with Parameterised
        Action Spaces" (arXiv 1905.04388), section 4.
    """

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        n, sizes = self.n_features, self.parameter_sizes
        owner = np.repeat(np.arange(len(sizes)), sizes)
        if k is not None:
            return super().call(observation, x * tf.cast(owner == k[:, None], x.dtype), k)
        if not self.hidden:  # a linear network: one pass, in which no output has weights of others' parameters
            values = tf.matmul(self.features(observation), self.out.kernel[:n]) + self.out.bias
            own = (owner[:, None] == np.arange(len(sizes))).astype(np.float32)
            return values + tf.matmul(x, self.out.kernel[n:] * own) if sum(sizes) else values
        first, *others = self.hidden
        # Axes [K, n, units], the passes first: every product is a plain batched matrix product, without transposes.
        h = (self.features(observation) @ first.kernel[:n] + first.bias)[None]
        if sum(sizes):
            own_x, own_kernel = per_action(tf.transpose(x), sizes), per_action(first.kernel[n:], sizes)
            few = max(sizes) <= layers.NARROW
            h = add_few(h, own_x, own_kernel) if few else h + tf.matmul(own_x, own_kernel, transpose_a=True)
        else:
            h = tf.repeat(h, len(sizes), axis=0)
        h = first.activation(h)
        for layer in others:
            h = layer(h)
        values = tf.matmul(h, tf.transpose(self.out.kernel)[:, :, None])
        return tf.transpose(values[:, :, 0]) + self.out.bias

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """Returns the same in NumPy; the axis of the actions comes first, so that every product is one BLAS call."""
        activation, n, sizes = self._require_numpy(), self.n_features, self.parameter_sizes
        kernel, bias, *others = weights
        if not self.hidden:
            own = np.repeat(np.arange(len(sizes)), sizes)[:, None] == np.arange(len(sizes))
            return dense(observation, kernel[:n], bias) + x @ (kernel[n:] * own)
        h = np.empty((len(sizes), len(observation), kernel.shape[1]), np.float32)
        start = 0
        for k, size in enumerate(sizes):
            own_x, own_kernel = x[:, start : start + size], kernel[n + start : n + start + size]
            # For one parameter, an outer product, which NumPy multiplies faster than BLAS.
            (np.multiply if size == 1 else np.matmul)(own_x, own_kernel, out=h[k])
            start += size
        h += dense(observation, kernel[:n], bias)
        h = activation(h)
        for kernel, bias in zip(others[:-2:2], others[1:-2:2], strict=True):
            h = activation(dense(h, kernel, bias))
        return (h @ others[-2].T[:, :, None])[:, :, 0].T + others[-1]


def values_of(values: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Values [n, K] and actions [n] → the actions' values [n]; by product, for XLA's gathers are slow on the CPU."""
    return tf.reduce_sum(values * tf.one_hot(k, values.shape[1]), 1)
