"""Linear-Gaussian policies: parameters that are normal around a linear function of the observation."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


class LinearGaussian:
    """P parameters, x ~ N(b + Wᵀs, σ²), each with a standard deviation of its own.

    Args:
        kernel: First W, float32 [D, P].
        bias: First b, float32 [P].
        std: σ, float64 [P].
        trained: Which weights are trained, bool [P, 1 + D]: b's, then W's.

    Attributes:
        kernel: W, float32 [D, P].
        bias: b, float32 [P].
        n_trained: N, the number of weights that are trained.
    """

    def __init__(self, kernel: Float32, bias: Float32, std: Float64, trained: NDArray[np.bool_]) -> None:
        self.kernel, self.bias, self.std = kernel.copy(), bias.copy(), std
        self._trained, self._precision = trained, 1.0 / std**2
        self.n_trained = int(trained.sum())

    def mean(self, observations: Float32) -> Float32:
        """Returns the means for one observation [D], float32 [P], or for n of them, [n, P]."""
        return observations @ self.kernel + self.bias

    def sample(self, means: Float32, rng: np.random.Generator) -> Float64:
        """Draws parameters around their means, float64 [P] or [n, P]."""
        return means + self.std * rng.standard_normal(means.shape)

    def in_tensorflow(self, observations: Any) -> tf.Tensor:
        """Returns the means for a tensor [n, D]."""
        return tf.matmul(observations, self.kernel) + self.bias

    def score(self, observation: Float32, mean: Float32, x: Float64, used: NDArray[np.bool_]) -> Float64:
        """Returns the gradient of log π(x|s) with respect to [b, Wᵀ], float64 [P, 1 + D].

        Args:
            observation: s, float32 [D].
            mean: What `mean` returned for it.
            x: The parameters drawn, float64 [P].
            used: Of which parameters the probability is, bool [P].
        """
        errors = used * self._precision * (x - mean)
        return errors[:, None] * np.concatenate([ONE, observation])

    def trained_part(self, matrix: Float64) -> Float64:
        """Returns from matrices [..., P, 1 + D] what belongs to the weights that are trained, [..., N]."""
        return matrix[..., self._trained]

    def moved(self, step: Float64) -> tuple[Float32, Float32]:
        """Returns (kernel, bias) after adding a step, float64 [N], to the weights that are trained."""
        change = np.zeros(self._trained.shape)
        change[self._trained] = step
        return (self.kernel + change[:, 1:].T).astype(np.float32), (self.bias + change[:, 0]).astype(np.float32)


ONE = np.ones(1, np.float32)
