"""Sarsa(λ) with values that are linear in features, in NumPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.learning.divergence import LARGEST, DivergedError

Float32 = NDArray[np.float32]


class SarsaLambda:
    """Values Q(s, k) = w_k·φ(s) of K actions, learned by Sarsa(λ) with accumulating traces.

    Args:
        n_actions: K.
        step_scales: What the step size is multiplied by for each feature, float32 [F].

    Attributes:
        weights: w, float32 [K, F]; replaced by each update, never changed.
        traces: Eligibility traces times `step_scales`, float32 [K, F].
        largest_step: The smallest bound of the step size so far (Dabney & Barto 2012), or infinity.

    References:
        Sutton & Barto 2018, "Reinforcement Learning: An Introduction", section 12.7. Dabney & Barto 2012, "Adaptive
        Step-Size for Online Temporal Difference Learning", AAAI.
    """

    def __init__(self, n_actions: int, step_scales: Float32) -> None:
        self._scales = step_scales
        self.weights: Float32 = np.zeros((n_actions, step_scales.size), np.float32)
        self.traces: Float32 = np.zeros_like(self.weights)
        self.largest_step = math.inf

    def values(self, features: Float32) -> Float32:
        """Returns Q(s, k) of every k, float32 [K], or [n, K] for features [n, F]."""
        return features @ self.weights.T

    def begin_episode(self) -> None:
        """Forgets the traces."""
        self.traces[:] = 0.0

    def update(
        self,
        features: Float32,
        k: int,
        reward: float,
        discount: float,
        following: tuple[Float32, int] | None,
        step_size: float,
        decay: float,
        bounded: bool,
    ) -> float:
        """Makes one step on a transition; returns its TD error.

        Args:
            features: φ(s), float32 [F].
            k: The action taken in s.
            reward: What followed.
            discount: What the value of what followed is multiplied by.
            following: φ(s′) and the action to be taken in s′; None where the episode has really ended.
            step_size: α, if no bound is smaller.
            decay: λ.
            bounded: Whether α is bounded, so that a step does not overshoot the error that it is to reduce. The bound
                never grows again.

        Raises:
            DivergedError: The new weights are not finite. All is as it was before.
        """
        before = self.traces[k].copy()
        self.traces[k] += features * self._scales
        change = -float(self.traces[k] @ features)
        td_error = reward - float(self.weights[k] @ features)
        if following is not None:
            next_features, next_k = following
            change += discount * float(self.traces[next_k] @ next_features)
            td_error += discount * float(self.weights[next_k] @ next_features)
        largest = min(self.largest_step, -1.0 / change) if bounded and change < 0 else self.largest_step
        step = min(step_size, largest) if bounded else step_size
        weights = self.traces * np.float32(step * td_error)
        weights += self.weights
        flat = weights.ravel()
        if not flat @ flat <= LARGEST**2:  # the quickest way to ask; NaN is not
            self.traces[k] = before
            raise DivergedError(f"the TD error is {td_error:g}, and the weights of the values are not all finite")
        self.weights, self.largest_step = weights, largest
        self.traces *= np.float32(discount * decay)
        return td_error
