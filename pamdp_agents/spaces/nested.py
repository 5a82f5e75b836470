"""Nested Gymnasium spaces, `Tuple` and `Dict`, as a list of leaves in depth-first order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray


def parts(space: spaces.Space[Any]) -> dict[Any, spaces.Space[Any]] | None:
    """Returns the parts of a Tuple by index, of a Dict by key; None for any other space, which is a leaf."""
    if isinstance(space, spaces.Tuple):
        return dict(enumerate(space.spaces))
    if isinstance(space, spaces.Dict):
        return dict(space.spaces)
    return None


def leaves(space: spaces.Space[Any], path: str = "") -> list[tuple[str, spaces.Space[Any]]]:
    """Returns the leaves of a space, each with its path as Python writes it, such as `[1]['kick']`.

    An empty Tuple or Dict counts as a leaf.
    """
    inner = parts(space)
    if not inner:
        return [(path, space)]
    return [leaf for key, part in inner.items() for leaf in leaves(part, f"{path}[{key!r}]")]


def nesting(space: spaces.Space[Any], counter: Iterator[int] | None = None) -> Any:
    """Returns how a space is nested: tuples and dicts like those of its elements, with the leaves' numbers as leaves.

    Working on these built-in types is much faster than asking Gymnasium's, which are abstract base classes.
    """
    counter = itertools.count() if counter is None else counter
    inner = parts(space)
    if inner is None:
        return next(counter)
    numbered = {key: nesting(part, counter) for key, part in inner.items()}
    return numbered if isinstance(space, spaces.Dict) else tuple(numbered.values())


def pack(nesting: Any, columns: Sequence[list[Any]]) -> list[Any]:
    """Joins one column for each leaf, a list of n values, to a list of n nested elements."""
    if isinstance(nesting, tuple):
        return list(zip(*[pack(part, columns) for part in nesting], strict=True))
    if isinstance(nesting, dict):
        inner = [pack(part, columns) for part in nesting.values()]
        return [dict(zip(nesting, row, strict=True)) for row in zip(*inner, strict=True)]
    return columns[nesting]


def assemble(nesting: Any, leaves: Sequence[Any]) -> Any:
    """Joins one value for each leaf to one nested element."""
    if isinstance(nesting, tuple):
        return tuple(assemble(part, leaves) for part in nesting)
    if isinstance(nesting, dict):
        return {key: assemble(part, leaves) for key, part in nesting.items()}
    return leaves[nesting]


def unpack(nesting: Any, elements: Sequence[Any]) -> list[Sequence[Any]]:
    """Returns the inverse of `pack`: n nested elements as one column for each leaf.

    Raises:
        ValueError: An element is not nested like this. What the leaves hold is not looked at.
    """
    if isinstance(nesting, tuple):
        for element in elements:
            if not isinstance(element, tuple | list | np.ndarray) or len(element) != len(nesting):
                raise ValueError(f"expected a tuple of {len(nesting)}, got {element!r}")
        inner = dict(enumerate(nesting))
    elif isinstance(nesting, dict):
        for element in elements:
            if not isinstance(element, Mapping) or element.keys() != nesting.keys():
                raise ValueError(f"expected a dict with the keys {list(nesting)}, got {element!r}")
        inner = nesting
    else:
        return [elements]
    columns = []
    for key, part in inner.items():
        columns += unpack(part, [element[key] for element in elements])
    return columns


def bounded(box: spaces.Box) -> NDArray[np.bool_]:
    """Returns which components of a Box have finite bounds, bool of the Box's shape.

    The largest float32 stands for infinity in many environments, and so wide a range could not be scaled.
    """
    limit = float(np.finfo(np.float32).max)
    low, high = box.low.astype(np.float64), box.high.astype(np.float64)
    return box.bounded_below & box.bounded_above & (low > -limit) & (high < limit)
