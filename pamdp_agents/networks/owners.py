"""Which parameters are whose: the rows of each action's own parameters, picked out of the rows of all."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from pamdp_agents.networks.activations import Array


class Owners:
    """Which parameters belong to which discrete action.

    Args:
        mask: bool [K, P]. Where no parameter belongs to several actions, the actions' follow one another.

    Attributes:
        n_actions: K.
        n_parameters: P.
        sizes: m_k for each action.
        largest: The largest m_k.
        shared: Whether a parameter belongs to several actions.
        mask: float32 [K, P].
    """

    def __init__(self, mask: ArrayLike):
        self.mask: Array = np.asarray(mask, np.float32)
        self.n_actions, self.n_parameters = self.mask.shape
        self.sizes = tuple(np.count_nonzero(self.mask, axis=1).tolist())
        self.largest = max(self.sizes)
        self.shared = sum(self.sizes) > self.n_parameters
        if self.shared:
            # Rows are picked by a product with zeros and ones, for XLA's gathers, and their gradients, are slow.
            actions, parameters = np.nonzero(self.mask)
            ranks = np.arange(len(actions)) - np.repeat(np.cumsum((0, *self.sizes[:-1])), self.sizes)
            self._picks: Array = np.zeros((self.n_actions, self.largest, self.n_parameters), np.float32)
            self._picks[actions, ranks, parameters] = 1.0

    def per_action(self, rows: tf.Tensor) -> tf.Tensor:
        """Splits rows [P, n] into each action's own [K, largest, n], padded with zeros where an action has fewer."""
        if self.shared:
            return tf.reshape(tf.constant(self._flat_picks) @ rows, (self.n_actions, self.largest, -1))
        if min(self.sizes) == self.largest:
            return tf.reshape(rows, (self.n_actions, self.largest, -1))
        parts = tf.split(rows, self.sizes)
        padded = [
            tf.pad(part, [[0, self.largest - size], [0, 0]]) for part, size in zip(parts, self.sizes, strict=True)
        ]
        return tf.stack(padded)

    def per_action_in_numpy(self, rows: Array) -> Array:
        """Returns the same in NumPy, for shared parameters."""
        return (self._flat_picks @ rows).reshape(self.n_actions, self.largest, -1)

    def of_the_taken(self, x: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        """Parameters x [n, P] with those set to 0 that do not belong to the actions k [n]."""
        if self.shared:
            return x * (tf.one_hot(k, self.n_actions) @ tf.constant(self.mask))
        owner = np.repeat(np.arange(self.n_actions), self.sizes)
        return x * tf.cast(owner == k[:, None], x.dtype)

    @property
    def _flat_picks(self) -> Array:
        return self._picks.reshape(-1, self.n_parameters)
