"""Nested Gymnasium spaces, `Tuple` and `Dict`, as a list of leaves in depth-first order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


def parts(space: spaces.Space[Any]) -> dict[Any, spaces.Space[Any]] | None:
    """The parts of a Tuple by index, of a Dict by key; None for any other space, which is a leaf."""
    if isinstance(space, spaces.Tuple):
        return dict(enumerate(space.spaces))
    if isinstance(space, spaces.Dict):
        return dict(space.spaces)
    return None


def leaves(space: spaces.Space[Any], path: str = "") -> list[tuple[str, spaces.Space[Any]]]:
    """The leaves of a space, each with its path as Python writes it, such as `[1]['kick']`.

    An empty Tuple or Dict counts as a leaf.
    """
    inner = parts(space)
    if not inner:
        return [(path, space)]
    return [leaf for key, part in inner.items() for leaf in leaves(part, f"{path}[{key!r}]")]


def pack(space: spaces.Space[Any], columns: Iterator[list[Any]]) -> list[Any]:
    """Joins the columns of a space's leaves, each a list of n values, to a list of n elements."""
    if isinstance(space, spaces.Tuple):
        return list(zip(*[pack(part, columns) for part in space.spaces], strict=True))
    if isinstance(space, spaces.Dict):
        inner = [pack(part, columns) for part in space.spaces.values()]
        return [dict(zip(space.spaces, row, strict=True)) for row in zip(*inner, strict=True)]
    return next(columns)


def unpack(space: spaces.Space[Any], elements: Sequence[Any]) -> list[Sequence[Any]]:
    """The inverse of `pack`: n elements of the space as one column for each leaf.

    Raises:
        ValueError: If an element is not nested as the space is. What the leaves hold is not looked at.
    """
    inner = parts(space)
    if inner is None:
        return [elements]
    for element in elements:
        if isinstance(space, spaces.Dict):
            if not isinstance(element, Mapping) or element.keys() != inner.keys():
                raise ValueError(f"expected a dict with the keys {list(inner)}, got {element!r}")
        elif not isinstance(element, tuple | list | np.ndarray) or len(element) != len(inner):
            raise ValueError(f"expected a tuple of {len(inner)}, got {element!r}")
    columns = []
    for key, part in inner.items():
        columns += unpack(part, [element[key] for element in elements])
    return columns


def bounded(box: spaces.Box) -> NDArray[np.bool_]:
    """Which components of a Box have finite bounds, bool of the Box's shape.

    The largest float32 stands for infinity in many environments, and so wide a range could not be scaled.
    """
    limit = float(np.finfo(np.float32).max)
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    return box.bounded_below & box.bounded_above & (low > -limit) & (high < limit)
