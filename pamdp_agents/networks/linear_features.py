"""What linear values and linear policies see of an observation, as `policy_kwargs` say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.checks import check_integer, check_mapping
from pamdp_agents.networks.fourier_basis import FourierBasis, count_terms
from pamdp_agents.networks.linear_gaussian import LinearGaussian
from pamdp_agents.networks.parameter_actor import read_passthrough
from pamdp_agents.spaces.observations import WIDEST_RANGE, ObservationTransform

DEFAULTS: dict[str, Any] = {
    "fourier_order": 3,
    "fourier_interactions": 2,
    "fourier_observations": None,
    "parameter_observations": None,
    "baseline_observations": [],
}
"""The arguments, and what they are where they are not given."""


LARGEST = 2**24
"""Numbers that a basis, or weights of its features, may hold: 64 MiB."""


def read_linear_kwargs(name: str, value: Any) -> dict[str, Any]:
    """Returns `policy_kwargs` of linear values and policies, checked as far as they can be without spaces.

    Raises:
        TypeError: They are no dict, or one of them is of another type.
        ValueError: One is unknown, or out of its range.
    """
    given = check_mapping(name, {} if value is None else value)
    if unknown := sorted(given.keys() - DEFAULTS.keys()):
        raise ValueError(f"{name} {given} must be among {list(DEFAULTS)}: {unknown} are not")
    if "fourier_order" in given:
        given["fourier_order"] = check_integer("fourier_order", given["fourier_order"], 1)
    if given.get("fourier_interactions") is not None:
        given["fourier_interactions"] = check_integer("fourier_interactions", given["fourier_interactions"], 1)
    for which in ("fourier_observations", "baseline_observations"):
        if given.get(which) is not None:
            given[which] = _read_indices(which, given[which])
    which = "parameter_observations"
    if (indices := given.get(which)) is not None:
        nested = isinstance(indices, list | tuple) and any(isinstance(each, list | tuple) for each in indices)
        given[which] = [_read_indices(which, each) for each in indices] if nested else _read_indices(which, indices)
    return given


def make_basis(arguments: Mapping[str, Any], observations: ObservationTransform, n_actions: int) -> FourierBasis:
    """Returns the Fourier basis that `policy_kwargs` ask for.

    Args:
        arguments: `policy_kwargs`.
        observations: How observations are scaled.
        n_actions: K, each of which has weights of its own.

    Raises:
        ValueError: It has too many features, or an observation has no number of that index, or no bounds.
    """
    given = DEFAULTS | dict(arguments)
    indices = find_indices("fourier_observations", given["fourier_observations"], observations.size)
    order, interactions = given["fourier_order"], given["fourier_interactions"]
    if count_features(arguments, observations.size) > LARGEST // max(len(indices), n_actions):
        raise ValueError(
            f"fourier_order={order} and fourier_interactions={interactions} make too many features of {len(indices)} "
            f"observations, more than {LARGEST // max(len(indices), n_actions):,}: take smaller ones, or fewer "
            "fourier_observations"
        )
    low, high = observations.low, observations.high
    with np.errstate(invalid="ignore"):  # of infinities
        bounded = high / 2 - low / 2 <= WIDEST_RANGE / 2
    if not bounded[indices].all():
        without, left = indices[~bounded[indices]].tolist(), indices[bounded[indices]].tolist()
        raise ValueError(
            f"a Fourier basis needs bounds at most 2**24 apart, which the numbers {without} of an observation of "
            f'{observations.space} do not have: leave them out, policy_kwargs={{"fourier_observations": {left}}}, or '
            "wrap the environment to bound them, for example in gymnasium.wrappers.TransformObservation"
        )
    width = (high - low)[indices]
    inverse = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
    scaled = observations.scaled[indices]
    factor, summand = np.where(scaled, 0.5, inverse), np.where(scaled, 0.5, -low[indices] * inverse)
    return FourierBasis(factor, summand, indices, order, interactions)


def count_features(arguments: Mapping[str, Any], n_observations: int) -> int:
    """Returns how many features `policy_kwargs` ask for, of observations of D numbers, without making them."""
    given = DEFAULTS | dict(arguments)
    d = n_observations if given["fourier_observations"] is None else len(given["fourier_observations"])
    return count_terms(d, given["fourier_order"], min(given["fourier_interactions"] or d, d))


def seen_by_parameters(arguments: Mapping[str, Any], n_observations: int, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns which numbers of an observation each parameter depends on, bool [P, D].

    Args:
        arguments: `policy_kwargs`.
        n_observations: D.
        mask: Which parameters belong to which discrete action, bool [K, P].

    Raises:
        ValueError: There is no such number, or not one list for each discrete action.
    """
    name = "parameter_observations"
    given = (DEFAULTS | dict(arguments))[name]
    nested = bool(given) and isinstance(given[0], list)
    if nested and len(given) != len(mask):
        raise ValueError(f"{name} must be one list, or {len(mask)}, one for each discrete action, got {given}")
    seen = np.zeros((mask.shape[1], n_observations), np.bool_)
    for own, indices in zip(mask, given if nested else [given] * len(mask), strict=True):
        seen[np.ix_(own, find_indices(name, indices, n_observations))] = True
    return seen


def make_policy(
    arguments: Mapping[str, Any],
    n_observations: int,
    mask: NDArray[np.bool_],
    std: float | Sequence[float],
    initial: dict[str, Any] | None,
) -> LinearGaussian:
    """Returns the parameters' policies.

    Args:
        arguments: `policy_kwargs`.
        n_observations: D.
        mask: Which parameters belong to which discrete action, bool [K, P].
        std: Their standard deviation, of all or of each.
        initial: First weights, `{"bias": [P], "weight": [P, D]}`; None: 0.

    Raises:
        ValueError: Something is not as the sizes demand.
    """
    n_parameters = mask.shape[1]
    stds = np.asarray(std, np.float64)
    if stds.ndim and stds.shape != (n_parameters,):
        raise ValueError(f"parameter_std must be a number or {n_parameters}, one for each parameter, got {std}")
    first = read_passthrough(initial or {}, n_observations, n_parameters, "initial_parameters")
    assert first is not None
    seen = seen_by_parameters(arguments, n_observations, mask)
    trained = np.concatenate([np.ones((n_parameters, 1), np.bool_), seen], axis=1)
    return LinearGaussian(*first, np.broadcast_to(stds, (n_parameters,)), trained)


def find_indices(name: str, given: Sequence[int] | None, n_observations: int) -> NDArray[np.intp]:
    """Returns the indices given, or all of them.

    Raises:
        ValueError: One is too large.
    """
    if given is None:
        return np.arange(n_observations)
    if max(given, default=-1) >= n_observations:
        raise ValueError(f"{name} must be among 0..{n_observations - 1}, the numbers of an observation, got {given}")
    return np.array(given, np.intp)


def _read_indices(name: str, given: Any) -> list[int]:
    if not isinstance(given, list | tuple):
        raise TypeError(f"{name} must be a list of integers, numbers of an observation counted from 0, got {given!r}")
    indices = [check_integer(f"each of {name}", each, 0) for each in given]
    if len(set(indices)) < len(indices):
        raise ValueError(f"{name} must all be different, got {indices}")
    return indices
