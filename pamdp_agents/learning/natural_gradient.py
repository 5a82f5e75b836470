"""The episodic natural gradient: which way the return of whole episodes grows, by least squares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.learning.divergence import DivergedError

Float64 = NDArray[np.float64]


def episodic_natural_gradient(scores: Float64, baselines: Float64, returns: Float64) -> Float64:
    """Returns the natural gradient of the expected return: episodic natural actor-critic (eNAC).

    It is the w of the least squares fit R_i ≈ w·ψ_i + v·φ_i, where ψ_i is the sum of ∇θ log π over the steps of episode
    i; of several that fit as well, the shortest.

    Args:
        scores: ψ_i of n episodes, float64 [n, N].
        baselines: φ_i, features of each episode's first state, float64 [n, B].
        returns: R_i, float64 [n].

    Returns:
        w, float64 [N]; 0 where the returns do not depend on the scores, but for rounding.

    Raises:
        DivergedError: Something given is not finite.

    References:
        Peters & Schaal 2008, "Natural Actor-Critic", Neurocomputing 71, algorithm 2.
    """
    design = np.concatenate([scores, baselines], axis=1)
    if not (np.isfinite(design).all() and np.isfinite(returns).all()):
        raise DivergedError("the log-probabilities' gradients, or the returns, are not all finite")
    # Observations are of float32: what is smaller than their rounding is no direction, and explains no return.
    rounding = float(np.finfo(np.float32).eps) * max(design.shape)
    solution, *_ = np.linalg.lstsq(design, returns, rcond=rounding)
    gradient = solution[: scores.shape[1]]
    explained = np.abs(scores @ gradient).max(initial=0.0)
    return gradient if explained > rounding * np.abs(returns).max(initial=0.0) else np.zeros_like(gradient)
