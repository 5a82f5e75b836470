"""What an action space's layout says: which part is the discrete choice, which boxes hold whose parameters."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from pamdp_agents.checks import warn_user
from pamdp_agents.spaces import nested
from pamdp_agents.spaces.observations import WIDEST_RANGE
from pamdp_agents.spaces.shared_parameters import SharedParameters

_LAYOUTS = (
    "Tuple(Discrete, Tuple(Box, ...)), Tuple(Discrete, Box, ...), Tuple(Discrete, Box), the same as Dict, "
    "OneOf(Box or Discrete(1), ...), Discrete and Box"
)


def read_layout(
    space: spaces.Space[Any],
) -> tuple[spaces.Discrete | None, str | None, list[spaces.Space[Any]]]:
    """Returns the discrete choice, its path, and the spaces of the parameters, one for each action if there are K.

    Raises:
        TypeError: The space has no layout of a parameterised action space.
    """
    if isinstance(space, spaces.Discrete):
        return space, "", []
    if isinstance(space, spaces.Box):
        return None, None, [space]
    if isinstance(space, spaces.OneOf):
        return None, None, list(space.spaces)
    parts = nested.parts(space) or {}
    discretes = {key: part for key, part in parts.items() if isinstance(part, spaces.Discrete)}
    if isinstance(space, spaces.Tuple):  # the choice comes first
        discretes = {key: part for key, part in discretes.items() if key == 0}
    elif len(discretes) > 1:  # the others may only stand for "no parameters"
        discretes = {key: part for key, part in discretes.items() if part.n > 1}
    if len(discretes) != 1:
        raise _unknown_layout(space, "it needs exactly one discrete choice, in a Tuple as the first entry")
    [(key, discrete)] = discretes.items()
    components = [part for other, part in parts.items() if other != key]
    if len(components) == 1:
        inner = nested.parts(components[0])
        if inner and len(inner) == discrete.n:
            components = list(inner.values())
    return discrete, f"[{key!r}]", components


def check_leaf(leaf: spaces.Space[Any], path: str, space: spaces.Space[Any]) -> spaces.Box | spaces.Discrete:
    """Returns a leaf that holds parameters, or stands for none, after checking that they can be scaled.

    Raises:
        TypeError: It is neither a Box nor `Discrete(1)`.
        ValueError: It is unbounded, or has integers that floats cannot count.
    """
    if isinstance(leaf, spaces.Discrete) and leaf.n == 1:
        return leaf
    if not isinstance(leaf, spaces.Box):
        raise _unknown_layout(space, f"action_space{path} is {leaf}")
    if not nested.bounded(leaf).all():
        raise ValueError(
            f"action_space{path} is unbounded: {leaf}. Action-parameters are scaled to [-1, 1], which needs "
            "finite bounds. Give the environment a bounded Box; gymnasium.wrappers.TransformAction(env, "
            "lambda action: action, bounded_action_space) does so without changing its code."
        )
    if leaf.dtype.kind in "iu" and np.any((leaf.low < -(2**53)) | (leaf.high > 2**53)):
        raise ValueError(
            f"action_space{path} has integers beyond ±2**53, which floats cannot count: {leaf}. "
            "Give the environment a Box with narrower bounds."
        )
    if np.any(leaf.high.astype(np.float64) / 2 - leaf.low.astype(np.float64) / 2 > WIDEST_RANGE / 2):
        warn_user(
            f"action_space{path} is {leaf}, so wide that its bounds may stand for none. Action-parameters are scaled "
            "from their bounds to [-1, 1], explored across all of this range, and of float32 precision: give the "
            "environment the range of values that make sense."
        )
    return leaf


def size_of(leaf: spaces.Space[Any]) -> int:
    """Returns how many parameters a leaf holds."""
    return int(np.prod(leaf.shape)) if isinstance(leaf, spaces.Box) else 0


def _unknown_layout(space: spaces.Space[Any], reason: str) -> TypeError:
    return TypeError(f"{space} is not a parameterised action space: {reason}. Accepted layouts: {_LAYOUTS}.")


def owned_coordinates(
    space: spaces.Space[Any],
    n: int,
    components: list[spaces.Space[Any]],
    parameter_sizes: Sequence[int] | None,
    parameter_mask: ArrayLike | None,
) -> list[NDArray[np.int64]]:
    """For each discrete action, its coordinates in the environment vector, int64 [m_k].

    Raises:
        ValueError: The arguments do not fit the space, or it needs one of them.
    """
    sizes = [sum(size_of(leaf) for _, leaf in nested.leaves(component)) for component in components]
    total = sum(sizes)
    if parameter_sizes is not None and parameter_mask is not None:
        raise ValueError("parameter_sizes and parameter_mask both say which coordinates are whose: give one.")
    told = isinstance(space, SharedParameters) or nested.parts(space) is None
    if (parameter_sizes is not None or parameter_mask is not None) and told:
        raise ValueError(
            f"parameter_sizes and parameter_mask are for Tuple and Dict spaces. In {space} it is plain which "
            "parameters are whose: leave them out."
        )
    if isinstance(space, SharedParameters):
        return [np.flatnonzero(row) for row in space.parameter_mask]
    if parameter_mask is not None:
        mask = np.asarray(parameter_mask)
        if mask.shape != (n, total) or not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"parameter_mask must be a bool array of shape {(n, total)}, a row per discrete action and a "
                f"column per coordinate of {space}; got shape {mask.shape}, dtype {mask.dtype}."
            )
        return [np.flatnonzero(row) for row in mask]
    if parameter_sizes is not None:
        sizes = [operator.index(size) for size in parameter_sizes]
        if len(sizes) != n or min(sizes) < 0 or sum(sizes) != total:
            raise ValueError(
                f"parameter_sizes must be {n} sizes, one for each discrete action (0 for no parameters), "
                f"which add up to the {total} coordinates of {space}; got {tuple(sizes)}."
            )
    elif n == 1 or not total:
        sizes = [total, *[0] * (n - 1)]
    elif len(components) != n or not _names_tell(space, n):
        raise ValueError(
            f"Which of the {total} coordinates belong to which of the {n} discrete actions cannot be seen "
            f"from {space}; their order is {_order_of(space)}. Wrap the environment to say it: "
            f"HybridActionWrapper(env, parameter_sizes=...) with {n} sizes if each action has its own consecutive "
            f"coordinates{_sizes_hint(sizes, n)}, or HybridActionWrapper(env, parameter_mask=...) with a bool array of "
            f"shape {(n, total)} if actions share coordinates or have them in another order."
        )
    elif _may_be_joint(space, components):
        warn_user(
            f"{space} is read as one Box for each discrete action, the first for action 0: no action uses the others' "
            "parameters. If that is so, Tuple(Discrete, Tuple(Box, ...)) says it without a doubt, or "
            f"HybridActionWrapper(env, parameter_sizes={sizes}). If all actions use these boxes, or share some: "
            f"HybridActionWrapper(env, parameter_mask=...) with a bool array of shape {(n, total)}."
        )
    return [np.arange(stop - size, stop) for size, stop in zip(sizes, np.cumsum(sizes), strict=True)]


def _names_tell(space: spaces.Space[Any], n: int) -> bool:
    """Whether the keys, if the boxes have some, are numbered as the actions' parameters are: from 0 or from 1."""
    keys = _keys_of_boxes(space)
    if keys is None:
        return True
    found = [re.fullmatch(r"(|x|.*(?:action|param)\D*)(\d+)", str(key), re.IGNORECASE) for key in keys]
    if not all(found):
        return False
    stems, numbers = zip(*(each.groups() for each in found if each), strict=True)
    return len(set(stems)) == 1 and [int(number) for number in numbers] in (list(range(n)), list(range(1, n + 1)))


def _keys_of_boxes(space: spaces.Space[Any]) -> list[Any] | None:
    """Returns the keys of the components beside the discrete choice; None where they have none, in a Tuple."""
    parts = nested.parts(space)
    if parts is None:
        return None
    others = {key: part for key, part in parts.items() if not isinstance(part, spaces.Discrete) or part.n == 1}
    if len(others) == 1:
        [inner] = others.values()
        if nested.parts(inner):
            return list(inner) if isinstance(inner, spaces.Dict) else None
    return list(others) if isinstance(space, spaces.Dict) else None


def _may_be_joint(space: spaces.Space[Any], components: Iterable[spaces.Space[Any]]) -> bool:
    """Whether boxes beside the choice, in one Tuple with it, could also be parameters that all actions share.

    A part that holds no parameters, or several boxes, is there for its action.
    """
    beside = isinstance(space, spaces.Tuple) and len(space.spaces) > 2
    return beside and all(isinstance(part, spaces.Box) and size_of(part) for part in components)


def _order_of(space: spaces.Space[Any]) -> str:
    leaves = [(path, size_of(leaf)) for path, leaf in nested.leaves(space) if size_of(leaf)]
    return ", ".join(f"{path} ({size})" for path, size in leaves)


def _sizes_hint(sizes: Sequence[int], n: int) -> str:
    return f" ({list(sizes)}, if the k-th part is action k's)" if len(sizes) == n else ""
