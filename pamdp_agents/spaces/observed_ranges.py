"""Whether networks can see anything of the observations: measured once, when there are enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.checks import warn_user
from pamdp_agents.spaces.observations import WIDEST_RANGE, ObservationTransform

ENOUGH = 100
"""Observations that tell how much of its range a component uses."""
MOST = 1000
"""Observations that are looked at, for images are large."""
SMALLEST_SHARE = 3.5e-3
"""Share of its range below which the values of a component are too close together: measured on a task of one
component, agents learn at 1/100 and begin to fail at 1/300. A step of a pixel, 1/255, is above."""
LARGEST = 1e3
"""Size above which values that are not scaled are too large for a network."""


def warn_of_unseen(transform: ObservationTransform, rows: NDArray[np.float32]) -> None:
    """Warns of components whose bounds say little of their values, so that networks see nothing of them or too much.

    Args:
        transform: How the observations were flattened and scaled.
        rows: The observations after that, float32 [n, D].
    """
    if not (transform.scaled.any() or transform.too_wide.any()):
        return
    lowest, highest = rows.min(0).astype(np.float64), rows.max(0).astype(np.float64)
    share = (highest - lowest) / 2
    # What never changed says nothing, and would say nothing with other bounds.
    vanishing = transform.scaled & (share > 0) & (share < SMALLEST_SHARE)
    if vanishing.any():
        i = int(np.where(vanishing, share, np.inf).argmin())
        low, high = transform.low[i], transform.high[i]
        seen = (np.array([lowest[i], highest[i]]) + 1) / 2 * (high - low) + low
        warn_user(
            f"{_named(transform, vanishing)} of the observation hardly changes once it is scaled from its bounds to "
            f"[-1, 1], and the networks will hardly see it: {_named(transform, i)} has the bounds {low:g} and "
            f"{high:g}, and the first {len(rows)} observations lie between {seen[0]:.6g} and {seen[1]:.6g}. Give the "
            "environment's observation_space the bounds that are met, or infinite ones (such components are not "
            "scaled); or switch scaling off with scale_observations=False."
        )
    large = transform.too_wide & (np.maximum(np.abs(lowest), np.abs(highest)) > LARGEST)
    if large.any():
        i = int(large.argmax())
        warn_user(
            f"{_named(transform, large)} of the observation is not scaled, for bounds more than {WIDEST_RANGE:.0f} "
            f"apart count as none, and has large values, which networks learn badly from: {_named(transform, i)} has "
            f"the bounds {transform.low[i]:g} and {transform.high[i]:g}, and the first {len(rows)} observations lie "
            f"between {lowest[i]:.6g} and {highest[i]:.6g}. Give the environment's observation_space the bounds that "
            "are met, or scale the observation in the environment."
        )


def _named(transform: ObservationTransform, which: int | NDArray[np.bool_]) -> str:
    """Returns a component's name, or how many components there are and the first's name."""
    if not isinstance(which, int):
        first, *others = np.flatnonzero(which).tolist()
        name = _named(transform, first)
        return f"component {name} (and {len(others)} more)" if others else f"component {name}"
    path, place = next((path, place) for path, place in transform.places.items() if place.start <= which < place.stop)
    return f"observation{path}[{which - place.start}]"
