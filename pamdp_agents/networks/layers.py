"""Layers, and products of narrow matrices that XLA computes slowly on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pamdp_agents.checks import check_integer
from pamdp_agents.networks.activations import Array


def check_net_arch(net_arch: Any) -> list[int]:
    """Returns the units of the hidden layers as a list, after checking them; of none for a linear network.

    Raises:
        ValueError: They are not.
    """
    try:
        if isinstance(net_arch, str | Mapping) or not isinstance(net_arch, Iterable):
            raise TypeError("it is no list")
        return [check_integer("units", units, 1) for units in net_arch]
    except (TypeError, ValueError) as error:
        raise ValueError(f"net_arch must be a list of positive numbers of units, got {net_arch!r}") from error


def hidden_layers(net_arch: Sequence[int], activation: Callable, layer_norm: bool = False) -> list[keras.layers.Dense]:
    """Returns the hidden layers, one for each number of units."""
    return [
        HiddenLayer(units, activation, layer_norm, kernel_initializer="he_normal", name=f"hidden_{i}")
        for i, units in enumerate(check_net_arch(net_arch))
    ]


class HiddenLayer(keras.layers.Dense):
    """A Dense layer that takes inputs of size 0, too, and may normalise what it gives its activation.

    Args:
        units: Number of outputs.
        activation: Activation.
        layer_norm: Normalise before the activation, see `normalized`.
        **kwargs: As for Keras's Dense.
    """

    def __init__(self, units: int, activation: Callable, layer_norm: bool = False, **kwargs: Any):
        super().__init__(units, activation, **kwargs)
        self.layer_norm = layer_norm

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights: kernel [inputs, units] and bias, and the norm's gamma and beta [units]."""
        super().build(input_shape)
        if self.layer_norm:
            self.gamma, self.beta = norm_weights(self, (self.units,))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps [n, inputs] to [n, units]."""
        if inputs.shape[-1] and not self.layer_norm:
            return super().call(inputs)
        return self.finish(affine(inputs, tf.convert_to_tensor(self.kernel), self.bias))

    def finish(self, h: tf.Tensor) -> tf.Tensor:
        """Does what follows on the products and the bias: the norm, if there is one, and the activation."""
        return self.activation(normalized(h, self.gamma, self.beta) if self.layer_norm else h)


NORM_EPSILON = 1e-5
"""What is added to the variance, as in PyTorch's LayerNorm and in the paper's authors' code."""


def norm_weights(layer: keras.layers.Layer, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Adds a layer's weights of `normalized`: gamma, 1 at first, and beta, 0 at first."""
    gamma = layer.add_weight(shape=shape, initializer="ones", name="gamma")
    return gamma, layer.add_weight(shape=shape, initializer="zeros", name="beta")


def normalized(h: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    """Returns h [..., units] with mean 0 and variance 1 over the units, times gamma, plus beta.

    References:
        Ba, Kiros & Hinton 2016, "Layer Normalization" (arXiv 1607.06450).
    """
    h -= tf.reduce_mean(h, -1, keepdims=True)
    return h * tf.math.rsqrt(tf.reduce_mean(tf.square(h), -1, keepdims=True) + NORM_EPSILON) * gamma + beta


def normalized_in_numpy(h: Array, gamma: Array, beta: Array) -> Array:
    """Returns the same in NumPy, in place."""
    h -= h.mean(-1, keepdims=True)
    h *= gamma / np.sqrt(np.square(h).mean(-1, keepdims=True) + np.float32(NORM_EPSILON))
    h += beta
    return h


def hidden_in_numpy(h: Array, weights: Sequence[Array], activation: Callable, layer_norm: bool) -> Array:
    """Returns what hidden layers make of h in NumPy, given their weights one layer after the other."""
    for i in range(0, len(weights), 4 if layer_norm else 2):
        h = dense(h, weights[i], weights[i + 1])
        h = activation(normalized_in_numpy(h, weights[i + 2], weights[i + 3]) if layer_norm else h)
    return h


def affine(h: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns h @ kernel + bias; as a sum where h is of size 0, on which oneDNN's product with a bias aborts."""
    return (h @ kernel if h.shape[-1] else tf.reduce_sum(h[:, :, None] * kernel, 1)) + bias


NARROW = 3
"""Where a matrix has up to so many columns or rows, sums over them take the place of products that XLA computes ten
times slower on the CPU: with plain products, a third of a small update's time went there."""


class OutputLayer(keras.layers.Dense):
    """A Dense layer whose gradients are computed column by column if it has few."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps [n, inputs] to [n, units]."""
        if self.units > NARROW:
            return super().call(inputs)
        return narrow_affine(inputs, tf.convert_to_tensor(self.kernel), self.bias)


def narrow_affine(h: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns h @ kernel + bias, with gradients column by column if there are few columns."""
    return (_narrow_product(h, kernel) if kernel.shape[1] <= NARROW else h @ kernel) + bias


@tf.custom_gradient
def _narrow_product(h: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        columns = tf.unstack(upstream[:, :, None], axis=1)
        of_h = tf.add_n([column * each for column, each in zip(columns, tf.unstack(kernel, axis=1), strict=True)])
        return of_h, tf.stack([tf.reduce_sum(h * column, 0) for column in columns], 1)

    return h @ kernel, gradient


@tf.custom_gradient
def add_few(h: tf.Tensor, own_x: tf.Tensor, own_kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Adds each pass's few parameters [K, m, n] times their rows [K, m, units] to what all share, h [1, n, units]."""
    columns = list(zip(tf.unstack(own_x, axis=1), tf.unstack(own_kernel, axis=1), strict=True))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        of_x = tf.stack([tf.matmul(upstream, row[:, :, None])[:, :, 0] for _, row in columns], 1)
        return tf.reduce_sum(upstream, 0, keepdims=True), of_x, tf.matmul(own_x, upstream)

    for x, row in columns:
        h = h + x[:, :, None] * row[:, None, :]
    return h, gradient


def dense(h: Array, kernel: Array, bias: Array) -> Array:
    """Returns h @ kernel + bias, with one array less on the way."""
    output = h @ kernel
    output += bias
    return output
