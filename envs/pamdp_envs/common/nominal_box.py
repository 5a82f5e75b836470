"""A Box whose bounds are those of ordinary play, which a last observation may leave."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector.utils import batch_space


class NominalBox(Box):
    """A `Box` with nominal bounds: `low` and `high` scale and sample, `contains` does not enforce them.

    In robot soccer the ball ends an episode in the net or beyond the touch line, so the last observation lies
    outside the bounds by which every published agent scales its input. Wider bounds would change that scaling
    and clipped observations would hide where the ball went; this space keeps both as they are.

    It is a `Box` in every other respect (constructor, sampling, flattening, equality, pickling). Vector
    environments batch it into a `NominalBox` too.
    """

    def contains(self, x: Any) -> bool:
        """Returns whether `x` is finite, of the space's shape, and castable to its dtype; bounds do not matter."""
        if not isinstance(x, np.ndarray):
            try:
                x = np.asarray(x, dtype=self.dtype)
            except (ValueError, TypeError, OverflowError):
                return False
        return bool(np.can_cast(x.dtype, self.dtype) and x.shape == self.shape and np.all(np.isfinite(x)))

    def __repr__(self) -> str:
        return f"Nominal{super().__repr__()}"


@batch_space.register(NominalBox)
def _batch_nominal_box(space: NominalBox, n: int = 1) -> NominalBox:
    repeats = (n,) + (1,) * space.low.ndim
    low, high = np.tile(space.low, repeats), np.tile(space.high, repeats)
    return NominalBox(low, high, dtype=space.dtype, seed=deepcopy(space.np_random))
