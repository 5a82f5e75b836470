"""One leaf of an action space: its place in the environment vector, and its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


class Leaf:
    """One Box (or `Discrete(1)`) of an action space and its place in the environment vector.

    Args:
        space: The Box or Discrete.
        place: Its place.
    """

    def __init__(self, space: spaces.Box | spaces.Discrete, place: slice) -> None:
        self.space, self.place = space, place
        # Asked of the space once: its properties take as long as what is done with them in every step.
        self._constant = space.start if isinstance(space, spaces.Discrete) else None
        self._dtype, self._shape = space.dtype, space.shape or ()

    def stacked(self, vectors: NDArray[np.float64]) -> NDArray[Any]:
        """This leaf's part of n environment actions, from their environment vectors [n, D], as one array."""
        if self._constant is not None:
            return np.full(len(vectors), self._constant)
        values = vectors[:, self.place]
        if self._dtype.kind != "f":
            values = np.rint(values)
        values = values.astype(self._dtype)
        return values if len(self._shape) == 1 else values.reshape(len(values), *self._shape)

    def rows(self, vectors: NDArray[np.float64]) -> list[Any]:
        """Returns the same as a list of n parts."""
        if self._constant is not None:
            return [self._constant] * len(vectors)
        values = self.stacked(vectors)
        if self._shape:
            return list(values)
        return [values[row, ...] for row in range(len(values))]  # "..." keeps an array where the shape is ()

    def read(self, column: Sequence[Any], vectors: NDArray[np.float64]) -> None:
        """Writes this leaf's part of n environment actions into their environment vectors [n, D]."""
        if self._constant is not None:
            read_choices(column, int(self._constant), 1)
            return
        values = np.asarray(column, dtype=np.float64)
        if values.shape[1:] != self._shape:
            raise ValueError(f"a parameter has shape {values.shape[1:]} instead of {self._shape}")
        vectors[:, self.place] = values.reshape(len(column), -1)


def read_choices(column: Sequence[Any], start: int, n: int) -> NDArray[np.int32]:
    """Returns the discrete actions in a column as numbers from 0, after checking that they are among n from `start`."""
    values = np.asarray(column)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError("the discrete action is not an integer")
    k = values.astype(np.int64) - start
    if k.min() < 0 or k.max() >= n:
        raise ValueError(f"the discrete action is not in {start}..{start + n - 1}")
    return k.astype(np.int32)


def inverse(half: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns 1 / half, by which a range is scaled; 0 where it is 0, or so small that its inverse would be infinite."""
    return np.divide(1.0, half, out=np.zeros_like(half), where=half > np.finfo(np.float64).tiny)
