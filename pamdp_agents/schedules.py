"""Settings that change during training: numbers, or functions of the progress that remains, as in Stable-Baselines3.

The progress that remains is 1 at the start of `learn` and 0 at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from pamdp_agents.checks import check_range

Schedule = Callable[[float], float]


class LinearSchedule:
    """Falls (or rises) in a straight line, then stays; a schedule that a saved agent's file can describe.

    Args:
        start: Value at the start of training.
        end: Value from `end_fraction` of the training on.
        end_fraction: Fraction of the training after which the end is reached, in (0, 1].
    """

    def __init__(self, start: float, end: float, end_fraction: float = 1.0):
        self.start, self.end = (
            float(check_range("start", start, at_least=0)),
            float(check_range("end", end, at_least=0)),
        )
        self.end_fraction = float(check_range("end_fraction", end_fraction, above=0, to=1))

    def __call__(self, progress_remaining: float) -> float:
        """Returns the value when this much of the progress remains."""
        return linear_schedule(self.start, self.end, (1.0 - progress_remaining) / self.end_fraction)

    def __repr__(self) -> str:
        return f"LinearSchedule(start={self.start}, end={self.end}, end_fraction={self.end_fraction})"


def get(name: str, value: Any, to: float | None = None) -> float | Schedule:
    """Returns the number or schedule that a setting means.

    Args:
        name: The setting, for error messages.
        value: A number; a function of the remaining progress; or `LinearSchedule`'s arguments as a dict.
            Stable-Baselines3's and RL Zoo's constant and linear schedules become a number and a
            `LinearSchedule`.
        to: The largest value accepted.

    Raises:
        TypeError: It is none of these.
        ValueError: A value is below 0 or above `to`, now or (for a function) at the start of training, or (for a
            `LinearSchedule`) at its end.
    """
    if isinstance(value, Mapping):
        try:
            value = LinearSchedule(**value)
        except TypeError as error:
            raise ValueError(
                f"{name} as a dict takes start, end and end_fraction, got {dict(value)}: {error}"
            ) from None
    value = _known(value)
    if not callable(value) and not isinstance(value, Real):
        raise TypeError(
            f"{name} must be a number, a function of the progress that remains, or a LinearSchedule's arguments as a "
            f"dict, got {value!r}"
        )
    try:
        for remaining in (1.0, 0.0) if isinstance(value, LinearSchedule) else (1.0,):  # between its ends it is between
            current_value(name, value, remaining, to)
    except TypeError as error:
        raise TypeError(
            f"{name} must be a number or a function of one number, the progress that remains: {error}"
        ) from error
    return value


def serialize(value: Any) -> Any:
    """Returns the number or dict from which `get` makes the setting again; None stays None.

    Raises:
        TypeError: It is a function that no file can describe.
    """
    if isinstance(value, LinearSchedule):
        return vars(value)
    if callable(value):
        raise TypeError(f"the schedule {value!r} is neither a number nor a LinearSchedule")
    return value


def current_value(name: str, value: float | Schedule, progress_remaining: float, to: float | None = None) -> float:
    """Returns a setting's value at a moment of the training.

    Args:
        name: The setting, for error messages.
        value: A number, or a function of the remaining progress.
        progress_remaining: From 1 at the start to 0 at the end.
        to: The largest value accepted.

    Raises:
        TypeError: It is neither a number nor a function that gives one.
        ValueError: The value is below 0 or above `to`.
    """
    if not callable(value):
        return check_range(name, value, at_least=0, to=to)
    when = f"{name}(progress_remaining={progress_remaining:g})"
    now = value(progress_remaining)
    if hasattr(now, "__array__"):  # an array or tensor of one number
        now = np.asarray(now).item()
    return float(check_range(when, now, at_least=0, to=to))


def linear_schedule(initial: float, final: float, fraction_done: float) -> float:
    """Returns the value a given fraction of the way from `initial` to `final`, staying at `final` after it."""
    return initial + min(max(fraction_done, 0.0), 1.0) * (final - initial)


def _known(value: Any) -> Any:
    """Turns other libraries' schedules into ours, by the names of their classes: they need not be installed."""
    kind = type(value).__name__
    if kind == "FloatSchedule" and hasattr(value, "value_schedule"):
        return _known(value.value_schedule)
    if kind == "ConstantSchedule" and hasattr(value, "val"):
        return value.val
    if kind == "LinearSchedule" and not isinstance(value, LinearSchedule) and hasattr(value, "end_fraction"):
        return LinearSchedule(value.start, value.end, value.end_fraction)
    if kind == "SimpleLinearSchedule" and hasattr(value, "initial_value"):
        return LinearSchedule(value.initial_value, 0.0)
    return value
