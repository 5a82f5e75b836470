"""Optimisers: small pure functions on flat vectors."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pamdp_agents.learning.train_state import NetworkState


def clip_by_norm(gradient: tf.Tensor, max_norm: float | tf.Tensor) -> tf.Tensor:
    """Scales a network's gradient to a norm of at most `max_norm`, as PyTorch does."""
    return gradient * tf.minimum(1.0, max_norm / (tf.norm(gradient) + 1e-6))


def adam(network: NetworkState, gradient: tf.Tensor, learning_rate: tf.Tensor) -> NetworkState:
    """Returns the network after one step of Adam down the gradient, counted.

    The form matters where gradients are tiny: ε = 1e-8 is added after the bias correction, as in PyTorch and as in
    algorithm 1 of the paper (Kingma & Ba 2015, arXiv 1412.6980), not before it as in Keras.

    Args:
        network: The network's state.
        gradient: Gradient of its loss, float32 [size].
        learning_rate: Step size, float32 scalar.
    """
    updates = network.updates + 1.0
    first = 0.9 * network.first_moment + 0.1 * gradient
    second = 0.999 * network.second_moment + 0.001 * tf.square(gradient)
    # pow(β, updates) by exp: XLA evaluates it faster than a general power
    corrected_first = first / (1.0 - tf.exp(updates * np.float32(np.log(0.9))))
    corrected_second = second / (1.0 - tf.exp(updates * np.float32(np.log(0.999))))
    weights = network.weights - learning_rate * corrected_first / (tf.sqrt(corrected_second) + 1e-8)
    return network._replace(weights=weights, first_moment=first, second_moment=second, updates=updates)


def polyak(network: NetworkState, tau: float | tf.Tensor) -> NetworkState:
    """Returns the network with its target moved a fraction `tau` of the way to its weights."""
    return network._replace(target=network.target + tau * (network.weights - network.target))
