"""What environments return, read with care: rewards that are numbers, ends that are true or false."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LIMIT = float(np.finfo(np.float32).max)
"""What is learned from is float32: a larger number would be stored as infinity."""

_BOOLEANS = (True, False)


class Fault(Exception):
    """Something wrong that an environment did, without the environment's name and the step, which others know.

    Args:
        what: What it did, as it follows the environment's name, such as `"returned the reward nan"`.
        kind: The error to raise.
        index: Which of several environments it was, if that is known.
    """

    def __init__(self, what: str, kind: type[Exception] = ValueError, index: int | None = None):
        super().__init__(what)
        self.what, self.kind, self.index = what, kind, index


def read_reward(given: Any, index: int | None = None) -> float:
    """Returns a reward, a number or an array of exactly one, as a float.

    Raises:
        Fault: It is no number (TypeError), or not one that float32 can hold (ValueError).
    """
    try:
        reward = float(given if isinstance(given, int | float | np.floating | np.integer) else _only_number(given))
    except OverflowError:  # an integer
        reward = np.inf
    except (TypeError, ValueError):
        raise Fault(
            f"returned the reward {shown(given)}, which is not a number; a reward must be one", TypeError, index
        ) from None
    if not -LIMIT <= reward <= LIMIT:
        raise Fault(
            f"returned the reward {shown(given)}, which is not a finite number within float32's ±3.4e38", index=index
        )
    return reward


def _only_number(given: Any) -> Any:
    """Returns the number in an array of one, or what else is a number.

    Raises:
        TypeError, ValueError: It is something else.
    """
    array = np.asarray(given)
    if array.size != 1 or array.dtype.kind not in "fiubO":
        raise TypeError(f"{given!r} is not one number")
    number = array.item()
    if isinstance(number, str | bytes):
        raise TypeError(f"{given!r} is a text")
    return number


def read_rewards(given: Any, n: int) -> NDArray[np.float64]:
    """Returns the rewards of n environments as float64 [n].

    Raises:
        Fault: They are not n numbers that float32 can hold.
    """
    rewards = np.asarray(given)
    if len(np.atleast_1d(rewards)) != n:
        raise Fault(f"returned the rewards {shown(given)}, which are not {n} numbers", TypeError)
    if rewards.shape != (n,) or rewards.dtype.kind not in "fiu":
        named = rewards.dtype.kind not in "USc"  # one of these makes all of them so
        return np.array([read_reward(reward, i if named else None) for i, reward in enumerate(rewards)])
    if not (np.abs(rewards) <= LIMIT).all():
        for i, reward in enumerate(rewards):
            read_reward(reward, i)
    return rewards.astype(np.float64, copy=False)


def read_end(name: str, given: Any, index: int | None = None) -> bool:
    """Returns `terminated` or `truncated`, which must be true or false: a bool, 0 or 1, or an array of one of these.

    Raises:
        Fault: It is something else.
    """
    try:
        if given in _BOOLEANS:
            return bool(given)
    except (TypeError, ValueError):  # an array of several
        pass
    raise Fault(f"returned {name}={shown(given)}, which is neither True nor False", TypeError, index)


def read_ends(name: str, given: Any, n: int) -> NDArray[np.bool_]:
    """Returns the same of n environments, bool [n], as an array of its own.

    Raises:
        Fault: They are not n of these.
    """
    ends = np.array(given)
    if ends.shape == (n,) and ends.dtype == np.bool_:
        return ends
    if len(np.atleast_1d(ends)) != n:
        raise Fault(f"returned {name}={shown(given)}, which are not {n} of True and False", TypeError)
    named = ends.dtype.kind not in "US"  # as above
    return np.array([read_end(name, end, i if named else None) for i, end in enumerate(ends)])


def shown(value: Any) -> str:
    """Returns a value for an error message, which it must not flood."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 300 else f"{text[:300]}…"


LIBRARIES = ("gymnasium.", "stable_baselines3.")
CALLS = ("reset", "step", "reset_async", "reset_wait", "step_async", "step_wait")


def refused_by(error: Exception) -> str | None:
    """Returns which part of Gymnasium or Stable-Baselines3 could not read what an environment returned, if it was so.

    A wrapper or vector environment fails where it puts a wrong value in an array, say; what an environment's own code
    raises is something else, also where it uses these libraries. What they call of others does not count.
    """
    trace, where, call = error.__traceback__, "", ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        is_library = module.startswith(LIBRARIES) and not module.startswith("gymnasium.envs.")
        if not is_library and module.partition(".")[0] not in ("numpy", "functools"):
            where = call = ""
        elif is_library:
            where, call = module, call or trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    built_in = type(error).__module__ == "builtins" or isinstance(error, TypeError)  # NumPy's own are of these, too
    return where if built_in and call in CALLS else None
