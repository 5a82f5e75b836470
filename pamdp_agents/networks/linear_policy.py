"""Deterministic decisions by linear values and linear parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pamdp_agents.experience.transition import Decision
from pamdp_agents.learning.sarsa import SarsaLambda
from pamdp_agents.networks.fourier_basis import FourierBasis
from pamdp_agents.networks.linear_gaussian import LinearGaussian

ROWS = 128  # whose features are made at once


class LinearPolicy:
    """The deterministic decisions: the k of the highest value, and the means of the parameters.

    Args:
        basis: The features.
        sarsa: The values.
        actor: The parameters.
    """

    def __init__(self, basis: FourierBasis, sarsa: SarsaLambda, actor: LinearGaussian) -> None:
        self._basis, self._sarsa, self._actor = basis, sarsa, actor

    def decide(self, observations: np.ndarray) -> Decision:
        """Returns the decisions for scaled observations, float32 [n, D]."""
        return Decision(self.values(observations).argmax(1), self._actor.mean(observations), {})

    def values(self, observations: np.ndarray) -> np.ndarray:
        """Returns Q(s, k) for scaled observations, float32 [n, K]; of many, not all features are there at once."""
        starts = range(0, max(len(observations), 1), ROWS)
        blocks = [self._sarsa.values(self._basis(observations[i : i + ROWS])) for i in starts]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def forget_weights(self) -> None:
        """Does nothing: there are no views of the weights."""

    def frozen(self) -> Callable[[tf.Tensor], Decision]:
        """Returns the decisions as a function of tensors [n, D], with the weights in use as constants."""

        def decide(observations: tf.Tensor) -> Decision:
            values = tf.matmul(self._basis.in_tensorflow(observations), self._sarsa.weights.T)
            return Decision(tf.argmax(values, 1, tf.int32), self._actor.in_tensorflow(observations), {})

        return decide
