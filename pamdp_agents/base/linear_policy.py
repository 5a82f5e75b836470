"""Deterministic decisions by linear values and linear parameters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pamdp_agents.base.policy import best
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

    def decide(self, observations: np.ndarray, masks: np.ndarray | None = None) -> Decision:
        """Returns the decisions for scaled observations.

        Args:
            observations: float32 [n, D].
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """
        return Decision(best(self.values(observations), masks), self._actor.mean(observations), {})

    def values(self, observations: np.ndarray) -> np.ndarray:
        """Returns Q(s, k) for scaled observations, float32 [n, K]; of many, not all features are there at once."""
        starts = range(0, max(len(observations), 1), ROWS)
        blocks = [self._sarsa.values(self._basis(observations[i : i + ROWS])) for i in starts]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def forget_weights(self) -> None:
        """Does nothing: there are no views of the weights."""

    def frozen(self) -> Callable[..., Decision]:
        """Returns the decisions as a function of observations [n, D] and masks [n, K] or None, tensors.

        The weights in use are constants in it.
        """

        def decide(observations: tf.Tensor, masks: tf.Tensor | None = None) -> Decision:
            values = tf.matmul(self._basis.in_tensorflow(observations), self._sarsa.weights.T)
            return Decision(best(values, masks), self._actor.in_tensorflow(observations), {})

        return decide
