"""A sum tree: finds which of many numbers a point on their running sum belongs to, without going through all."""

from __future__ import annotations

import numpy as np


class SumTree:
    """Numbers of at least 0, and the sums of pairs of them, of pairs of these, and so on.

    Setting and finding m numbers of n takes a few calls of NumPy for each of the log₂ n levels, whatever m is. Sums are
    those of the numbers as they are, not of what was added to them: no error adds up over time, and equal numbers make
    equal trees.

    Args:
        size: n.
    """

    def __init__(self, size: int):
        self._levels = (size - 1).bit_length()
        self._first = 2**self._levels  # of the numbers; node i has the children 2i and 2i + 1, and the root is 1
        self._nodes = np.zeros(2 * self._first)

    @property
    def total(self) -> float:
        """The sum of all numbers."""
        return float(self._nodes[1])

    def __getitem__(self, indices: np.ndarray | slice) -> np.ndarray:
        return self._nodes[self._first :][indices]

    def __setitem__(self, indices: np.ndarray, values: np.ndarray | float) -> None:
        nodes, changed = self._nodes, indices + self._first
        nodes[changed] = values
        for _ in range(self._levels):
            changed >>= 1
            left = 2 * changed
            nodes[changed] = nodes[left] + nodes[left + 1]

    def find(self, points: np.ndarray) -> np.ndarray:
        """Returns the number that each point belongs to, int [m]: the i-th is hit in a share of its value.

        Rounding may put a point close to the total beyond the last number that is not 0.

        Args:
            points: Points in [0, total), float64 [m].
        """
        found, points = np.ones(len(points), np.int64), points.copy()
        for _ in range(self._levels):
            found <<= 1
            left = self._nodes[found]
            is_right = points >= left
            found += is_right
            points -= left * is_right
        return found - self._first
