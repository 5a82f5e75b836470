"""Checks of arguments, each with an error that names the argument, what was given and what is accepted."""

from __future__ import annotations

import itertools
import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST_SEED = 2**32 - 1
"""What NumPy's and Keras's global generators take."""
LARGEST_COUNT = 2**53
"""More than any training reaches, and exact as a float."""
LARGEST_NUMBER = (2 - 2**-23) * 2.0**127
"""The largest float32: agents compute in it, and take a larger number for infinity."""
SMALLEST_NUMBER = 2.0**-126
"""The smallest float32 that is not 0 for XLA."""


def check_range(
    name: str, value: Any, above: float | None = None, at_least: float | None = None, to: float | None = None
) -> Any:
    """Returns a finite number that float32 can hold, after checking its range.

    Raises:
        TypeError: It is not a number.
        ValueError: It is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number{_range(above, at_least, to)}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    inside = (above is None or number > above) and (at_least is None or number >= at_least)
    if not (math.isfinite(number) and inside and (to is None or number <= to)):
        raise ValueError(f"{name} must be a finite number{_range(above, at_least, to)}, got {_shown(value)}")
    if abs(number) > LARGEST_NUMBER or (above == 0 and number < SMALLEST_NUMBER):
        taken_for = "infinity" if abs(number) > 1 else "0"
        raise ValueError(
            f"{name} must be a number{_range(above, at_least, to)} in float32, in which agents compute, got {value!r}, "
            f"which is {taken_for} there"
        )
    return value


def _range(above: float | None, at_least: float | None, to: float | None) -> str:
    """Returns the bounds in words. Only for errors: learning rates are checked at every update."""
    bounds = (("above", above), ("at least", at_least), ("at most", to))
    return " " * any(bound is not None for _, bound in bounds) + " and ".join(
        f"{word} {bound}" for word, bound in bounds if bound is not None
    )


def _shown(value: Any) -> str:
    """Returns a number for an error message; Python does not write integers of thousands of digits."""
    return (
        f"an integer of {value.bit_length()} bits"
        if isinstance(value, int) and value.bit_length() > 999
        else repr(value)
    )


def check_integer(name: str, value: Any, at_least: int, to: int | None = None) -> int:
    """Returns an integer after checking that it is at least a given one, and at most another, or `LARGEST_COUNT`.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is too small or too large.
    """
    accepted = f"an integer of at least {at_least}" + ("" if to is None else f" and at most {to}")
    if isinstance(value, bool) or not (
        isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    ):
        raise TypeError(f"{name} must be {accepted}, got {value!r}")
    number = int(value)
    if number < at_least or (to is not None and number > to):
        raise ValueError(f"{name} must be {accepted}, got {_shown(value)}")
    if number > LARGEST_COUNT:
        raise ValueError(f"{name} must be {accepted}, and at most {LARGEST_COUNT}, got {_shown(value)}")
    return number


def check_bool(name: str, value: Any) -> bool:
    """Returns a truth value after checking that it is one.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def check_choice(name: str, value: Any, choices: Sequence[str]) -> Any:
    """Returns a value after checking that it is one of the choices.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_mapping(name: str, value: Any) -> dict[str, Any]:
    """Returns a copy of a dict after checking that it is one, and that its keys are texts.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a dict whose keys are texts, got {value!r}")
    return dict(value)


def drop_neutral(arguments: Mapping[str, Any], neutral: Mapping[str, tuple[Any, str]], whose: str) -> dict[str, Any]:
    """Returns arguments without those of another library's that ask for nothing.

    Args:
        arguments: The arguments, by name.
        neutral: For each such argument the value at which it asks for nothing, as None does too; and how it is here.
        whose: What takes the arguments, for error messages.

    Raises:
        ValueError: One of them asks for something.
    """
    for name in arguments.keys() & neutral.keys():
        nothing, how_it_is = neutral[name]
        if arguments[name] not in (nothing, None):
            raise ValueError(
                f"{whose} takes {name}={nothing!r} only, which asks for nothing; {name} is {arguments[name]!r}: "
                f"{how_it_is}"
            )
    return {name: value for name, value in arguments.items() if name not in neutral}


def check_path(name: str, value: Any) -> str:
    """Returns a path as text after checking that it is one.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {value!r}")
    return os.fspath(value)


def check_seeds(seeds: Any) -> list[int]:
    """Returns seeds as a list after checking that they are different integers of at least 0.

    Raises:
        TypeError: They are not several integers.
        ValueError: One is negative or there twice, or there is none.
    """
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise TypeError(f"seeds must be several integers, such as range(4) or [3, 5], got {seeds!r}")
    checked = [check_integer("each of seeds", seed, 0, LARGEST_SEED) for seed in seeds]
    if not checked:
        raise ValueError("seeds must hold at least one seed, got none")
    if len(set(checked)) < len(checked):
        raise ValueError(f"seeds must all be different, got {checked}: agents of one seed are one and the same")
    return checked


def warn_user(message: str) -> None:
    """Warns at the line of the user's that led here, however deep in this library."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals["__name__"].startswith("pamdp_agents."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def check_masks(name: str, given: ArrayLike, n: int, options: Sequence[int]) -> NDArray[np.bool_]:
    """Returns the masks that an argument gives, bool [n, Σ options]; for n = 1 it may be one mask.

    Args:
        name: The argument.
        given: What was given.
        n: Number of masks.
        options: How many options each discrete choice has: of a parameterised action [K].

    Raises:
        TypeError: They are not of True and False.
        ValueError: They are of another shape, or one of them allows nothing.
    """
    size, masks = sum(options), np.asarray(given)
    masks = masks[None] if n == 1 and masks.shape == (size,) else masks
    if masks.shape != (n, size):
        shape = f"({size},)" if n == 1 else f"({n}, {size})"
        what = "discrete action" if len(options) == 1 else f"option of the discrete choices, which have {list(options)}"
        raise ValueError(f"{name} must be of shape {shape}, one entry for each {what}, got shape {np.shape(given)}")
    if not holds_truth_values(masks):
        raise TypeError(f"{name} must hold True and False (or 1 and 0), got {given!r}")
    masks = masks.astype(np.bool_)
    if allow_nothing(masks, options).any():
        raise ValueError(
            f"{name} must allow at least one discrete action{' of each choice' * (len(options) > 1)} for each "
            f"observation, got {given!r}"
        )
    return masks


def holds_truth_values(values: NDArray[Any]) -> bool:
    """Returns whether an array holds True and False, or 1 and 0 of any type of numbers, and nothing else."""
    return values.dtype.kind in "biuf" and bool(np.isin(values, (0, 1)).all())


def allow_nothing(masks: NDArray[np.bool_], options: Sequence[int]) -> NDArray[np.bool_]:
    """Returns which of n masks, [n, Σ options], allow no option of a choice: bool [n]."""
    starts = np.cumsum([0, *options])
    allowed = [masks[:, start:stop].any(1) for start, stop in itertools.pairwise(starts)]
    return ~np.all(allowed, axis=0)
