"""Action spaces whose parts are chosen independently of each other, as canonical arrays, and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from pamdp_agents.spaces import nested
from pamdp_agents.spaces.leaves import inverse
from pamdp_agents.spaces.observations import WIDEST_RANGE
from pamdp_agents.spaces.old_gym import refuse_old_space

Leaf = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary | spaces.Box
LEAVES = (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary, spaces.Box)


@dataclass(frozen=True)
class Part:
    """One leaf of an action space, and what of the canonical arrays is its own.

    Attributes:
        name: A short name of it, `"action"` for a space that is one leaf.
        path: Where it is in the space, as Python writes it, such as `['gear']`; empty for a space that is one leaf.
        space: The leaf.
        choices: Its columns of `k`; none of a Box.
        numbers: Its columns of `x`; none of all others.
        start: What is added to its choices, int64 [choices]; of a Box, nothing.
    """

    name: str
    path: str
    space: Leaf
    choices: slice
    numbers: slice
    start: NDArray[np.int64]


class IndependentActionSpace:
    """Any Tuple or Dict, nested or not, of Discrete, MultiDiscrete, MultiBinary and Box; or one of these alone.

    Canonical arrays are `k`, int32 [n, C], one column for each discrete variable, counted from 0 (a bit of a
    MultiBinary is a choice of two), and `x`, float32 [n, P], one for each number of the boxes. Numbers that are bounded
    on both sides are scaled to [−1, 1]; all others are as the environment takes them, and so are those whose bounds are
    further apart than 2**24, which stand for none.

    Args:
        space: The environment's action space.

    Attributes:
        space: As given.
        parts: Its leaves, depth first.
        options: How many options each of the C variables has.
        parameter_size: P.
        low: float64 [P], lower bounds in the environment's units; −∞ where there is none.
        high: float64 [P], upper bounds.
        middle: float64 [P], what 0 stands for in the environment's units.
        half: float64 [P], how far from that 1 is.

    Raises:
        TypeError: A leaf is something else, or there is nothing to decide.
        ValueError: A Box of integers has bounds that floats cannot count to.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        refuse_old_space("action_space", space)
        self.space = space
        self._nesting = nested.nesting(space)
        self.parts: list[Part] = []
        names = _names([path for path, _ in nested.leaves(space)])
        options: list[int] = []
        bounds: list[NDArray[np.float64]] = [np.zeros((2, 0))]
        size = 0
        for name, (path, leaf) in zip(names, nested.leaves(space), strict=True):
            if not isinstance(leaf, LEAVES) or nested.parts(leaf) is not None:
                raise TypeError(
                    f"action_space{path} is {leaf}; independent parts of an action must be Discrete, MultiDiscrete, "
                    f"MultiBinary or Box, alone or in a Tuple or Dict of any depth"
                )
            counts, start = _options(leaf)
            numbers = slice(size, size)
            if isinstance(leaf, spaces.Box):
                bounds.append(_bounds(leaf, path))
                numbers = slice(size, size + bounds[-1].shape[1])
            choices = slice(len(options), len(options) + len(counts))
            self.parts.append(Part(name, path, leaf, choices, numbers, start))
            options, size = options + counts, numbers.stop
        self.options = tuple(options)
        self.parameter_size = size
        if not options and not size:
            raise TypeError(f"{space} has nothing to decide")
        self.low, self.high = np.concatenate(bounds, 1)
        with np.errstate(over="ignore"):
            scaled = self.high - self.low <= WIDEST_RANGE
        low, high = np.where(scaled, self.low, -1.0), np.where(scaled, self.high, 1.0)
        self.middle, self.half = (low + high) / 2, (high - low) / 2
        self._inverse_half = inverse(self.half)

    def to_env_batch(self, k: ArrayLike, x: ArrayLike) -> list[Any]:
        """Returns the list of n environment actions.

        Args:
            k: Discrete choices, int [n, C], each counted from 0.
            x: Numbers, float [n, P]; clipped where they are outside of their bounds.

        Raises:
            ValueError: A shape or a choice is wrong, or `x` holds NaN.
        """
        k, values = self._check(k, x)
        columns: list[list[Any]] = []
        for part in self.parts:
            column = self._column(part, k, values)
            is_scalar = isinstance(part.space, spaces.Discrete)
            columns.append(list(column) if is_scalar else [column[row, ...] for row in range(len(k))])
        return nested.pack(self._nesting, columns)

    def to_env_stacked(self, k: ArrayLike, x: ArrayLike) -> Any:
        """Returns the actions as Gymnasium's vector environments batch them; see `to_env_batch`."""
        arrays = self._check(k, x)
        return nested.assemble(self._nesting, [self._column(part, *arrays) for part in self.parts])

    def from_env_batch(self, actions: Sequence[Any]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Returns `k`, int32 [n, C], and `x`, float32 [n, P], of n environment actions.

        Raises:
            ValueError: One of them is not in the space.
        """
        n = len(actions)
        k, values = np.zeros((n, len(self.options)), np.int64), np.zeros((n, self.parameter_size))
        for action in actions:
            if not self.space.contains(action):
                raise ValueError(f"{action!r} is not an action of {self.space}")
        if n:
            for part, column in zip(self.parts, nested.unpack(self._nesting, actions), strict=True):
                rows = np.asarray(column).reshape(n, -1)
                if isinstance(part.space, spaces.Box):
                    values[:, part.numbers] = rows
                else:
                    k[:, part.choices] = rows.astype(np.int64) - part.start
        return k.astype(np.int32), ((values - self.middle) * self._inverse_half).astype(np.float32)

    def _check(self, k: ArrayLike, x: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Returns choices and numbers in the environment's units, within their bounds."""
        k, x = np.asarray(k), np.asarray(x, np.float64)
        if k.ndim != 2 or k.shape[1] != len(self.options) or x.shape != (len(k), self.parameter_size):
            raise ValueError(
                f"discrete choices must be of shape (n, {len(self.options)}) and numbers of shape "
                f"(n, {self.parameter_size}), got shapes {k.shape} and {x.shape}"
            )
        if np.isnan(x).any():
            raise ValueError(
                f"the numbers of an action hold NaN: {x[int(np.isnan(x).any(1).argmax())]}. An environment cannot take "
                "that; look for what made it, usually a network that has diverged"
            )
        if k.size and ((k < 0) | (k >= self.options)).any():
            raise ValueError(f"discrete choices must be below {self.options} and at least 0, got {k.tolist()}")
        return k, np.minimum(np.maximum(x * self.half + self.middle, self.low), self.high)

    def _column(self, part: Part, k: NDArray[Any], values: NDArray[np.float64]) -> NDArray[Any]:
        """Returns a leaf's part of n actions, stacked."""
        space, n = part.space, len(k)
        if isinstance(space, spaces.Box):
            own = values[:, part.numbers]
            own = np.rint(own) if space.dtype.kind != "f" else own
            own = own.astype(space.dtype)
        else:
            own = (k[:, part.choices] + part.start).astype(space.dtype)
        return own[:, 0] if isinstance(space, spaces.Discrete) else own.reshape(n, *space.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IndependentActionSpace) and self.space == other.space

    def __repr__(self) -> str:
        return f"IndependentActionSpace({self.space})"


def _names(paths: Sequence[str]) -> list[str]:
    """Returns a short name for each path, all different."""
    names = [re.sub(r"\W+", "_", path, flags=re.ASCII).strip("_") or "action" for path in paths]
    if len(set(names)) < len(names):  # the keys "a b" and "a_b"
        names = [f"{name}_{i}" for i, name in enumerate(names)]
    return names


def _options(leaf: Leaf) -> tuple[list[int], NDArray[np.int64]]:
    """Returns the number of options of each of a leaf's variables, and from what they are counted."""
    if isinstance(leaf, spaces.Discrete):
        return [int(leaf.n)], np.array([leaf.start], np.int64)
    if isinstance(leaf, spaces.MultiDiscrete):
        return leaf.nvec.ravel().tolist(), leaf.start.ravel().astype(np.int64)
    if isinstance(leaf, spaces.MultiBinary):
        n = int(np.prod(leaf.shape))
        return [2] * n, np.zeros(n, np.int64)
    return [], np.zeros(0, np.int64)


def _bounds(box: spaces.Box, path: str) -> NDArray[np.float64]:
    """Returns a Box's bounds, float64 [2, size], infinite where there are none."""
    low, high = box.low.ravel().astype(np.float64), box.high.ravel().astype(np.float64)
    if box.dtype.kind in "iu" and ((low < -(2**53)) | (high > 2**53)).any():
        raise ValueError(
            f"action_space{path} has integers beyond ±2**53, which floats cannot count: {box}. "
            "Give the environment a Box with narrower bounds."
        )
    return np.stack([low, high])
