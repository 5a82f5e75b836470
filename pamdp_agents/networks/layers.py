"""Layers, and products of narrow matrices that XLA computes slowly on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
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


def hidden_layers(net_arch: Sequence[int], activation: Callable) -> list[keras.layers.Dense]:
    """Returns the hidden layers, one for each number of units."""
    return [
        HiddenLayer(units, activation, kernel_initializer="he_normal", name=f"hidden_{i}")
        for i, units in enumerate(check_net_arch(net_arch))
    ]


class HiddenLayer(keras.layers.Dense):
    """A Dense layer that takes inputs of size 0, too."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps [n, inputs] to [n, units]."""
        if inputs.shape[-1]:
            return super().call(inputs)
        return self.activation(affine(inputs, tf.convert_to_tensor(self.kernel), self.bias))


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
        return _narrow_product(inputs, tf.convert_to_tensor(self.kernel)) + self.bias


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
