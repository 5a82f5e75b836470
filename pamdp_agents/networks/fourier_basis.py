"""The Fourier basis: features of observations for values that are linear in them."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class FourierBasis:
    """The features cos(π c·u) of an observation u that is scaled to [0, 1], one for each vector c of whole numbers.

    Args:
        factor: What each used observation is multiplied by to lie within [0, 1], float [d].
        summand: What is added then, float [d].
        indices: Which numbers of an observation are used, int [d].
        order: The largest number in c.
        interactions: How many numbers of c may be other than 0 at most; None: all, which makes (order + 1)^d terms.

    Attributes:
        size: F, the number of features; the first is 1, of c = 0.
        frequencies: c of each, int [F, d].
        step_scales: What a step size is multiplied by for each, float32 [F]: 1/‖c‖, and 1 for c = 0.

    References:
        Konidaris, Osentoski & Thomas 2011, "Value Function Approximation in Reinforcement Learning using the Fourier
        Basis", AAAI.
    """

    def __init__(
        self,
        factor: NDArray[np.float64],
        summand: NDArray[np.float64],
        indices: NDArray[np.intp],
        order: int,
        interactions: int | None,
    ) -> None:
        d = len(indices)
        most = d if interactions is None else min(interactions, d)
        self.size = count_terms(d, order, most)
        self._indices = indices
        self.frequencies = np.zeros((self.size, d), np.intp)
        row = 1
        for n in range(1, most + 1):
            numbers = np.arange(order**n)[:, None] // order ** np.arange(n)[::-1] % order + 1
            for columns in itertools.combinations(range(d), n):
                self.frequencies[row : row + len(numbers), columns] = numbers
                row += len(numbers)
        lengths = np.linalg.norm(self.frequencies, axis=1)
        lengths[0] = 1.0
        self.step_scales = (1.0 / lengths).astype(np.float32)
        self._angles = np.ascontiguousarray((np.pi * self.frequencies * factor).T, np.float32)
        self._offsets = (np.pi * self.frequencies @ summand).astype(np.float32)

    def __call__(self, observations: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the features of one observation [D], float32 [F], or of n of them, [n, F]."""
        angles = observations[..., self._indices] @ self._angles
        angles += self._offsets
        return np.cos(angles, out=angles)

    def in_tensorflow(self, observations: Any) -> tf.Tensor:
        """Returns the same for a tensor [n, D]."""
        used = tf.gather(observations, self._indices, axis=1)
        return tf.cos(tf.matmul(used, self._angles) + self._offsets)


def count_terms(d: int, order: int, interactions: int) -> int:
    """Returns how many vectors of d numbers from 0 to `order` there are, of which so many at most are not 0."""
    return sum(math.comb(d, n) * order**n for n in range(interactions + 1))
