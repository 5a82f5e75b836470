"""Updates that give numbers that are not finite."""

from __future__ import annotations

LARGEST = 1e18  # float32 holds its square


class DivergedError(ValueError):
    """Weights are not finite, or so large that what is computed of them is not: training has diverged.

    An agent whose training stops with it is as it was before the update, and can be saved.
    """
