"""What a transition holds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Transitions taken apart; arrays or tensors with leading axis n.

    Attributes:
        s: Observation, float32 [n, D].
        k: Discrete action, float32 [n] (int32 once inside the compiled update).
        x: Parameters of all actions, float32 [n, P].
        r: Reward, float32 [n].
        s2: Next observation, float32 [n, D].
        terminated: 1 where the episode really ended, float32 [n]; truncated episodes bootstrap.
    """

    s: Any
    k: Any
    x: Any
    r: Any
    s2: Any
    terminated: Any


class TransitionLayout:
    """Where each part of a transition lies in a packed row.

    Args:
        n_observations: D, size of the observation.
        n_parameters: P, number of parameters of all actions.
    """

    def __init__(self, n_observations: int, n_parameters: int):
        sizes = (n_observations, 1, n_parameters, 1, n_observations, 1)
        ends = np.cumsum(sizes)
        self.s, self.k, self.x, self.r, self.s2, self.terminated = (
            slice(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)
        )
        self.size = int(ends[-1])

    def split(self, rows: Any) -> Batch:
        """Takes rows [n, size] apart, arrays or tensors."""
        return Batch(
            rows[:, self.s],
            rows[:, self.k.start],
            rows[:, self.x],
            rows[:, self.r.start],
            rows[:, self.s2],
            rows[:, self.terminated.start],
        )
