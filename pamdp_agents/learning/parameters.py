"""A learner's state by the names of its weights, out and in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from pamdp_agents.learning.divergence import LARGEST, DivergedError
from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.train_state import NetworkState, TrainState

Parameters: TypeAlias = dict[str, dict[str, np.ndarray]]
"""For each network, `{name: {...}}` its weights, `{name + "_target": {...}}` its target's, if it has one, and
`{name + ".optimizer": {...}}` Adam's moments ("m/…", "v/…") and `"step"`, its count of updates; float32 arrays by the
Keras names of the weights. `{"numbers": {...}}`: what else is trained, if anything is."""


def get_parameters(learner: Learner) -> Parameters:
    """Returns a copy of a learner's state by names."""
    state = learner.unload()
    parameters: Parameters = {}
    for name, network in learner.networks.items():
        *vectors, updates = state.networks[name]
        weights, target, first, second = (
            dict(zip(network.names, map(np.array, network.split(flat)), strict=True)) if len(flat) else {}
            for flat in vectors
        )
        parameters[name] = weights
        if network.has_target:
            parameters[f"{name}_target"] = target
        moments = {f"m/{key}": value for key, value in first.items()} | {f"v/{key}": v for key, v in second.items()}
        parameters[f"{name}.optimizer"] = moments | {"step": np.array(updates)}
    if state.numbers:
        parameters["numbers"] = {name: np.array(value) for name, value in state.numbers.items()}
    return parameters


def set_parameters(learner: Learner, given: Mapping[str, Mapping[str, np.ndarray]], exact_match: bool = True) -> None:
    """Replaces a learner's state.

    Args:
        learner: The learner.
        given: What `get_parameters` returns.
        exact_match: Demand all groups that hold anything, and all their weights; otherwise those not given stay as
            they are.

    Raises:
        DivergedError: A weight is not finite, or beyond ±1e18. Nothing has been changed then.
        ValueError: A group or weight is missing, unknown, of another shape, no real number, or what an optimiser never
            has: a negative second moment or count. Nothing has been changed then.
    """
    current = merge(get_parameters(learner), given, exact_match)
    networks = {}
    for name, network in learner.networks.items():
        optimizer = current[f"{name}.optimizer"]
        target = current.get(f"{name}_target")
        first, second = (network.join([optimizer[f"{moment}/{key}"] for key in network.names]) for moment in ("m", "v"))
        networks[name] = NetworkState(
            network.join([current[name][key] for key in network.names]),
            np.zeros(0, np.float32) if target is None else network.join([target[key] for key in network.names]),
            first,
            second,
            optimizer["step"],
        )
    learner.load(TrainState(networks, current.get("numbers", {})))


def merge(
    current: Mapping[str, Mapping[str, np.ndarray]],
    given: Mapping[str, Mapping[str, np.ndarray]],
    exact_match: bool = True,
) -> Parameters:
    """Returns parameters as they are after replacing some of them; see `set_parameters`.

    Args:
        current: All of them, as they are.
        given: Those that replace them.
        exact_match: As in `set_parameters`.

    Raises:
        DivergedError, ValueError: As in `set_parameters`.
    """
    merged = {group: dict(weights) for group, weights in current.items()}
    unknown = sorted(set(given) - set(current))
    missing = sorted(group for group, weights in current.items() if weights and group not in given)
    if unknown or (missing and exact_match):
        raise ValueError(
            f"parameters must be the groups {sorted(current)}; "
            + "; ".join(f"{word}: {names}" for word, names in (("unknown", unknown), ("missing", missing)) if names)
        )
    for group, weights in given.items():
        shapes = {name: np.shape(value) for name, value in weights.items()}
        expected = {name: value.shape for name, value in current[group].items()}
        if not exact_match:
            expected = {name: shape for name, shape in expected.items() if name in shapes}
        if shapes != expected:
            raise ValueError(f"parameters of {group!r} have the shapes {shapes}, this agent's have {expected}")
        merged[group] |= {name: _read(f"{group}:{name}", np.asarray(value)) for name, value in weights.items()}
    return merged


def _read(name: str, value: np.ndarray) -> np.ndarray:
    """Returns one weight, or a part of an optimiser's state, as float32 after checking it."""
    if value.dtype.kind not in "fiu":
        raise ValueError(f"parameter {name!r} must be of real numbers, got the type {value.dtype}")
    is_second_moment, is_count = ".optimizer:v/" in name, name.endswith(".optimizer:step")
    with np.errstate(over="ignore"):
        value = value.astype(np.float32)
    largest = LARGEST**2 if is_second_moment else LARGEST
    if not (np.abs(value) <= largest).all():  # NaN is not
        raise DivergedError(
            f"parameter {name!r} holds numbers that are not finite or beyond {largest:g}: training has diverged; take "
            "an agent of before that"
        )
    if (is_second_moment or is_count) and (value < 0).any():
        raise ValueError(f"parameter {name!r} must not be negative, got {value.min()}")
    return value
