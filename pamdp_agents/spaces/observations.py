"""Observations of any flattenable Gymnasium space as float32 vectors, scaled to [−1, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from pamdp_agents.spaces import nested
from pamdp_agents.spaces.leaves import inverse
from pamdp_agents.spaces.old_gym import refuse_old_space

# Spaces whose observations are arrays, so that n of them can be stacked. Text and OneOf flatten one by one.
_ArraySpace = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


WIDEST_RANGE = 2.0**24
"""Bounds further apart than this, 16 777 216, count as none: in float32, in which the networks compute, a difference of
1 is lost across so wide a range. Environments that have 1e10 for a bound mean that there is none."""


MOST_VALUES = 2**24
"""A longer one-hot vector is refused: one layer of a network on it, or one transition, takes gigabytes."""


def is_image_space(space: spaces.Space[Any], normalized_image: bool = False) -> bool:
    """Whether a space holds images, as Stable-Baselines3 decides it.

    Args:
        space: The space.
        normalized_image: Take any Box of three axes; not only of uint8, from 0 to 255.
    """
    if not isinstance(space, spaces.Box) or len(space.shape) != 3:
        return False
    return normalized_image or (space.dtype == "uint8" and bool((space.low == 0).all() and (space.high == 255).all()))


class ObservationTransform:
    """Flattens observations to float32 vectors and scales them to [−1, 1].

    The order is that of `gymnasium.spaces.flatten`: the entries of `Tuple` and `Dict` in a row, `Discrete`
    and `MultiDiscrete` as one-hot vectors. A component is scaled if both its bounds are finite (the largest
    float32 counts as infinite) and no further apart than `widest_range`, and left as it is if not; one with
    low == high, or as good as that, becomes 0. Values outside their bounds are not clipped, and NaN is not looked
    for.

    Args:
        space: The observation space: any that `gymnasium.spaces.flatten_space` makes a Box of.
        scale: Whether to scale; if not, observations are only flattened. Or the keys of a `Dict` to scale.
        scale_images: Whether images are scaled, too: every Box of three axes.
        widest_range: Bounds further apart than this count as none; None: all finite bounds are bounds.

    Attributes:
        space: The observation space.
        size: D, the number of components.
        places: Where each of the space's parts lies among them, by its path, such as `['camera']`; `""` for a plain
            space.
        low: float64 [D], lower bounds, −inf where there is none.
        high: float64 [D], upper bounds.
        scaled: bool [D], which components are scaled.
        too_wide: bool [D], which components would be scaled if their bounds were not so far apart.
        factor: float64 [D], what components are multiplied by.
        summand: float64 [D], what is added then.
        shapes: Each leaf's shape, in the vector's order; (d,) for a leaf that becomes one-hot.
        nesting: How the leaves are nested; see `pamdp_agents.spaces.nested.nesting`.

    Raises:
        TypeError: The space does not flatten to a Box of fixed size, as `Sequence` and `Graph` do not.
        ValueError: `scale` names keys that the space does not have, or a `Discrete` or `MultiDiscrete` has more
            values than a vector can stand for.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        scale: bool | Sequence[str] = True,
        scale_images: bool = True,
        widest_range: float | None = WIDEST_RANGE,
    ) -> None:
        refuse_old_space("observation_space", space)
        self.space = space
        self.nesting = nested.nesting(space)
        self._leaves = nested.leaves(space)
        for path, leaf in self._leaves:
            if not leaf.is_np_flattenable or nested.parts(leaf) is not None:  # the latter is empty
                raise TypeError(
                    f"Observations must flatten to vectors of one size, unlike observation_space{path}, "
                    f"{leaf}. Wrap the environment, for example in gymnasium.wrappers.TransformObservation, to give "
                    "a Box, Discrete, MultiDiscrete or MultiBinary, or a Tuple or Dict of them."
                )
            if isinstance(leaf, spaces.Discrete | spaces.MultiDiscrete) and spaces.flatdim(leaf) > MOST_VALUES:
                raise ValueError(
                    f"observation_space{path} is {leaf}, which as a one-hot vector has {spaces.flatdim(leaf):,} "
                    "numbers. Wrap the environment, for example in gymnasium.wrappers.TransformObservation, to give "
                    "the number itself in a Box."
                )
        bounds = [_bounds(leaf) for _, leaf in self._leaves]
        self.shapes = [_shape(leaf) for _, leaf in self._leaves]
        self.low, self.high, bounded = (np.concatenate(part) for part in zip(*bounds, strict=True))
        self.size, self.scaled = self.low.size, bounded
        ends = np.cumsum([len(part) for part, _, _ in bounds]).tolist()
        self.places = {
            path: slice(start, end) for (path, _), start, end in zip(self._leaves, [0, *ends], ends, strict=False)
        }
        for (path, leaf), place in zip(self._leaves, self.places.values(), strict=True):
            is_left = not scale_images and is_image_space(leaf, normalized_image=True)
            self.scaled[place] &= _is_scaled(path, space, scale) and not is_left
        limit = math.inf if widest_range is None else widest_range
        self.too_wide = self.scaled & ~_within(self.low, self.high, limit)
        self.scaled &= ~self.too_wide

        # Scaled = observation · factor + summand, in float64: float32 would lose a narrow range far from 0.
        self.factor, self.summand = np.ones(self.size), np.zeros(self.size)
        low, high = self.low[self.scaled], self.high[self.scaled]
        half, middle = (high - low) / 2, (high + low) / 2
        self.factor[self.scaled] = inverse(half)
        self.summand[self.scaled] = -middle * self.factor[self.scaled]

    def image_places(self) -> list[slice]:
        """Returns where images lie among the components: every Box of uint8 of two axes or more, scaled all alike."""
        return [
            place
            for (_, leaf), place in zip(self._leaves, self.places.values(), strict=True)
            if isinstance(leaf, spaces.Box)
            and leaf.dtype == np.uint8
            and len(leaf.shape) >= 2
            and place.stop > place.start
            and self.factor[place].min() == self.factor[place].max() > 0
            and self.summand[place].min() == self.summand[place].max()
        ]

    def __call__(self, observation: Any) -> NDArray[np.float32]:
        """Returns one observation as float32 [D].

        Raises:
            ValueError: The observation's nesting or a shape is not the space's.
        """
        if isinstance(self.space, spaces.Box):  # the quick way to what `_transform` does
            array = np.asarray(observation)
            if array.shape != self.space.shape:
                raise ValueError(self._describe_mismatch(array, "an observation"))
            return (array.reshape(-1) * self.factor + self.summand).astype(np.float32, casting="same_kind")
        return self._transform(nested.unpack(self.nesting, [observation]))[0]

    def batch(self, observations: Any) -> NDArray[np.float32]:
        """Returns n observations as float32 [n, D].

        Args:
            observations: n observations as vector environments stack them (for a Box an array [n, …], for a
                Discrete an integer array [n], for a Tuple or Dict a tuple or dict of such arrays), or a list
                or tuple of n observations.

        Raises:
            ValueError: The nesting or a shape is not the space's.
        """
        if isinstance(observations, list | tuple) and not observations:
            return np.zeros((0, self.size), dtype=np.float32)
        axes = self._leading_axes(observations)
        if axes == 1:
            return self._transform([column for [column] in nested.unpack(self.nesting, [observations])])
        try:
            if axes == 0 or not isinstance(observations, list | tuple):
                raise ValueError("it is not a list of observations")
            columns = nested.unpack(self.nesting, observations)
        except ValueError as error:
            raise ValueError(self._describe_mismatch(observations, "a batch of observations")) from error
        return self._transform(columns)

    def to_env_stacked(self, rows: NDArray[np.float32]) -> Any:
        """Returns n observations in the environment's units, of rows [n, D] as `batch` made them.

        Returns:
            What `batch` takes: an array [n, …] of the space's dtype, or a tuple or dict of them; in place of an array a
            list for spaces whose observations are none. Floats are as exact as float32 scaled to [−1, 1] is.
        """
        flat = rows.astype(np.float64) - self.summand
        flat = np.where(self.factor > 0, flat / np.where(self.factor > 0, self.factor, 1.0), self.low)
        columns = [_unflatten(leaf, flat[:, self.places[path]]) for path, leaf in self._leaves]
        return nested.assemble(self.nesting, columns)

    def is_batch(self, observation: Any) -> bool:
        """Whether this is a batch, as `batch` takes it, or one observation, as `__call__` takes it.

        Raises:
            ValueError: It is neither.
        """
        axes = self._leading_axes(observation)
        if axes is not None:
            return axes == 1
        if isinstance(observation, list | tuple) and all(self._leading_axes(each) == 0 for each in observation):
            return True
        raise ValueError(self._describe_mismatch(observation, "an observation or a batch of observations"))

    def _describe_mismatch(self, given: Any, wanted: str) -> str:
        values = [value for [value] in nested.unpack(self.nesting, [given])]
        expected = ", ".join(f"observation{path} of shape {leaf.shape}" for path, leaf in self._leaves)
        shapes = ", ".join(_described(value) for value in values)
        return f"Expected {wanted} of {self.space}: {expected}, with one more axis in front for a batch. Got {shapes}."

    def _leading_axes(self, observation: Any) -> int | None:
        """0 for one observation, 1 for n stacked ones, None for neither (which may be a list of n)."""
        try:
            values = [value for [value] in nested.unpack(self.nesting, [observation])]
        except ValueError:
            return None
        axes = {_count_leading_axes(leaf, value) for (_, leaf), value in zip(self._leaves, values, strict=True)}
        if len(axes) > 1:
            return None
        # A Tuple of two stacked arrays and a list of two observations look alike, but for the arrays.
        is_nested = isinstance(self.nesting, tuple | dict)
        if axes == {1} and is_nested and not all(isinstance(value, np.ndarray) for value in values):
            return None
        return axes.pop()

    def _transform(self, columns: Sequence[Any]) -> NDArray[np.float32]:
        """Scales n observations, given as one column for each leaf."""
        rows = [_flatten(leaf, path, column) for (path, leaf), column in zip(self._leaves, columns, strict=True)]
        if len({len(block) for block in rows}) > 1:
            raise ValueError(f"The entries of a batch must be equally long; got {[len(block) for block in rows]}.")
        # Of the same kind: numbers that are not real have no place here.
        return (np.concatenate(rows, axis=1) * self.factor + self.summand).astype(np.float32, casting="same_kind")


def _shape(leaf: spaces.Space[Any]) -> tuple[int, ...]:
    """Returns the shape that a leaf's components have before they are flattened."""
    return leaf.shape if isinstance(leaf, spaces.Box | spaces.MultiBinary) else (spaces.flatdim(leaf),)


def _described(value: Any) -> str:
    try:
        return f"shape {np.shape(value)}"
    except ValueError:  # ragged
        return f"a {type(value).__name__} of parts of different shapes"


def _is_scaled(path: str, space: spaces.Space[Any], scale: bool | Sequence[str]) -> bool:
    if isinstance(scale, bool):
        return scale
    keys = list(space) if isinstance(space, spaces.Dict) else []
    if not set(scale) <= set(keys):
        raise ValueError(
            f"scale_observations must be True, False or a list of the observation space's keys, {keys}; got {scale!r}."
        )
    return path.startswith(tuple(f"[{key!r}]" for key in scale))


def _within(low: NDArray[np.float64], high: NDArray[np.float64], limit: float) -> NDArray[np.bool_]:
    """Whether bounds are at most `limit` apart; halved, for a difference may be too large for a float64."""
    with np.errstate(invalid="ignore"):  # of infinities
        return high / 2 - low / 2 <= limit / 2


def _bounds(leaf: spaces.Space[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Lower and upper bounds of a flattened leaf, and where both are finite."""
    flat = leaf if isinstance(leaf, spaces.Box) else spaces.flatten_space(leaf)
    assert isinstance(flat, spaces.Box)
    return (
        flat.low.astype(np.float64).ravel(),
        flat.high.astype(np.float64).ravel(),
        nested.bounded(flat).ravel(),
    )


def _count_leading_axes(leaf: spaces.Space[Any], value: Any) -> int | None:
    if not isinstance(leaf, _ArraySpace):
        return 0 if leaf.contains(value) else None
    try:
        shape = np.shape(value)
    except ValueError:  # ragged
        return None
    expected = leaf.shape or ()
    axes = len(shape) - len(expected)
    return axes if axes in (0, 1) and shape[axes:] == expected else None


def _unflatten(leaf: spaces.Space[Any], rows: NDArray[np.float64]) -> Any:
    """Returns the n values of a leaf whose rows [n, d] `_flatten` gave."""
    if isinstance(leaf, spaces.Box | spaces.MultiBinary):
        rows = rows if np.issubdtype(leaf.dtype, np.floating) else np.rint(rows)
        return rows.reshape(len(rows), *leaf.shape).astype(leaf.dtype)
    if isinstance(leaf, spaces.Discrete):
        return (leaf.start + rows.argmax(1)).astype(leaf.dtype)
    if isinstance(leaf, spaces.MultiDiscrete):
        ends = np.cumsum(leaf.nvec.ravel())[:-1]
        values = np.stack([part.argmax(1) for part in np.split(rows, ends, axis=1)], axis=1)
        return (values.reshape(len(rows), *leaf.shape) + leaf.start).astype(leaf.dtype)
    return [spaces.unflatten(leaf, row) for row in rows]


def _flatten(leaf: spaces.Space[Any], path: str, column: Any) -> NDArray[Any]:
    """Returns n values of a leaf as rows [n, d]."""
    if not isinstance(leaf, _ArraySpace):
        return np.stack([np.asarray(spaces.flatten(leaf, value)) for value in column])
    values = np.asarray(column)
    if values.shape[1:] != leaf.shape:
        raise ValueError(f"observation{path} must have shape {leaf.shape}; got {values.shape[1:]}.")
    values = values.reshape(len(values), math.prod(leaf.shape))
    if isinstance(leaf, spaces.Box | spaces.MultiBinary):
        return values
    if isinstance(leaf, spaces.Discrete):
        start, counts = np.array([leaf.start]), np.array([leaf.n])
    else:
        start, counts = leaf.start.ravel(), leaf.nvec.ravel()
    if values.dtype.kind in "fb" and (values == np.rint(values)).all():  # 2.0 is 2, and True is 1
        values = values.astype(np.int64)
    valid = (values >= start) & (values < start + counts)
    if values.dtype.kind not in "iu" or not valid.all():
        raise ValueError(f"observation{path} must be in {leaf}; got {values[valid.all(axis=1).argmin()]}.")
    one_hot = [values[:, [i]] - start[i] == np.arange(count) for i, count in enumerate(counts)]
    return np.concatenate(one_hot, axis=1)
