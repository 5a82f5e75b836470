"""Optimisers: small pure functions on flat vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pamdp_agents.checks import check_mapping, check_range
from pamdp_agents.learning.train_state import NetworkState


def clip_by_norm(gradient: tf.Tensor, max_norm: float | tf.Tensor) -> tf.Tensor:
    """Scales a network's gradient to a norm of at most `max_norm`, as PyTorch does."""
    return gradient * tf.minimum(1.0, max_norm / (tf.norm(gradient) + 1e-6))


class Adam(NamedTuple):
    """Adam's settings but its step size.

    Attributes:
        beta_1: How much of the first moment stays in each step, in [0, 1).
        beta_2: The same of the second moment.
        epsilon: What is added to the root of the second moment.
        weight_decay: This multiple of the weights is added to the gradient, after it has been clipped, as PyTorch's
            Adam does it: an L2 penalty.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    @classmethod
    def read(cls, optimizer_kwargs: Mapping[str, Any] | None) -> Adam:
        """Returns the settings that Keras's or PyTorch's arguments of Adam mean.

        Args:
            optimizer_kwargs: `beta_1` and `beta_2` or `betas`, `epsilon` or `eps`, and `weight_decay`, where any may be
                missing; and `amsgrad=False`.

        Raises:
            TypeError: It is no dict, or one of them no number.
            ValueError: Something else is in it, one is given twice, or out of its range.
        """
        given = check_mapping("optimizer_kwargs", {} if optimizer_kwargs is None else optimizer_kwargs)
        if given.get("amsgrad") in (False, None):
            given.pop("amsgrad", None)
        names = ["betas"] if "betas" in given else ["beta_1", "beta_2"]
        names += ["eps" if "eps" in given else "epsilon", "weight_decay"]
        if unknown := sorted(given.keys() - set(names)):
            raise ValueError(
                'optimizer_kwargs may hold "betas" or "beta_1" and "beta_2", "eps" or "epsilon", and "weight_decay", '
                f"got {optimizer_kwargs!r}: {unknown} cannot be honoured (the step sizes are the agent's settings "
                "learning_rate and actor_learning_rate)"
            )
        if "betas" in given:
            try:
                given["beta_1"], given["beta_2"] = given.pop("betas")
            except (TypeError, ValueError) as error:
                raise ValueError(f'optimizer_kwargs["betas"] must be two numbers, got {optimizer_kwargs!r}') from error
        if "eps" in given:
            given["epsilon"] = given.pop("eps")
        read = cls(**{name: float(check_range(f"optimizer_kwargs: {name}", given[name], at_least=0)) for name in given})
        if max(np.float32(read.beta_1), np.float32(read.beta_2)) >= 1:
            raise ValueError(f"optimizer_kwargs: betas must be below 1 (as float32), got {optimizer_kwargs!r}")
        return read


PLAIN = Adam()


def adam(network: NetworkState, gradient: tf.Tensor, learning_rate: tf.Tensor, settings: Adam = PLAIN) -> NetworkState:
    """Returns the network after one step of Adam down the gradient, counted.

    The form matters where gradients are tiny: ε = 1e-8 is added after the bias correction, as in PyTorch and as in
    algorithm 1 of the paper (Kingma & Ba 2015, arXiv 1412.6980), not before it as in Keras.

    Args:
        network: The network's state.
        gradient: Gradient of its loss, float32 [size].
        learning_rate: Step size, float32 scalar.
        settings: Its other settings.
    """
    beta_1, beta_2, epsilon, weight_decay = settings
    if weight_decay:
        gradient += weight_decay * network.weights
    updates = network.updates + 1.0
    first = beta_1 * network.first_moment + (1.0 - beta_1) * gradient
    second = beta_2 * network.second_moment + (1.0 - beta_2) * tf.square(gradient)
    corrected_first = first / (1.0 - _power(beta_1, updates))
    corrected_second = second / (1.0 - _power(beta_2, updates))
    weights = network.weights - learning_rate * corrected_first / (tf.sqrt(corrected_second) + epsilon)
    return network._replace(weights=weights, first_moment=first, second_moment=second, updates=updates)


def _power(beta: float, updates: tf.Tensor) -> Any:
    """Returns β to the power of `updates` by exp: XLA evaluates that faster than a general power."""
    return tf.exp(updates * np.float32(np.log(beta))) if beta else 0.0


def polyak(network: NetworkState, tau: float | tf.Tensor) -> NetworkState:
    """Returns the network with its target moved a fraction `tau` of the way to its weights."""
    return network._replace(target=network.target + tau * (network.weights - network.target))
