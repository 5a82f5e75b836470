"""Environment wrappers by their names, as RL Zoo's `env_wrapper` has them."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import RecordVideo

from pamdp_agents.checks import check_mapping
from pamdp_agents.files.archive import is_plain

HYBRID_ACTION = "pamdp_agents.wrappers.HybridActionWrapper"

Wrapper = Callable[[gym.Env], gym.Env]


def read_wrappers(given: Any) -> list[dict[str, dict[str, Any]]]:
    """Returns wrappers in their one form, `[{"module.Class": {"argument": value}}, ...]`, the innermost first.

    Args:
        given: One wrapper or several: `"module.Class"`, or `{"module.Class": {"argument": value}}`.

    Raises:
        TypeError: It is something else.
        ValueError: A name has no module, a wrapper is not one name and its arguments, or JSON cannot hold these.
    """
    several = [given] if isinstance(given, str | Mapping) else given
    if not isinstance(several, Sequence):
        raise TypeError(f'env_wrapper must be "module.Class", {{"module.Class": arguments}} or several, got {given!r}')
    read = []
    for one in several:
        named = {one: {}} if isinstance(one, str) else check_mapping("each of env_wrapper", one)
        if len(named) != 1:
            raise ValueError(f"each of env_wrapper must be one name with its arguments, got {one!r}")
        [(name, kwargs)] = named.items()
        if not all(part.isidentifier() for part in name.split(".")) or "." not in name:
            raise ValueError(f"env_wrapper must name a class with its module, such as {HYBRID_ACTION}, got {name!r}")
        kwargs = check_mapping(f"env_wrapper's arguments of {name}", kwargs)
        if not is_plain(kwargs):
            raise ValueError(f"env_wrapper's arguments must be values that JSON can hold, got {kwargs}")
        read.append({name: kwargs})
    return read


def find_wrappers(wrappers: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[Wrapper]:
    """Returns functions that wrap an environment; imports the modules that are named.

    Args:
        wrappers: As `read_wrappers` returns them.

    Raises:
        ValueError: There is no such wrapper, or its module cannot be imported. When they are called: it cannot wrap.
    """
    return [_find(name, kwargs) for one in wrappers for name, kwargs in one.items()]


def find_unsafe(wrappers: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Returns the names of wrappers that a file of unknown origin must not choose.

    That is what is not imported yet or is no wrapper's class, for its use would run code that nobody asked for, and
    what writes files.
    """
    unsafe = []
    for name in (name for one in wrappers for name in one):
        module, _, attribute = name.rpartition(".")
        kind = getattr(sys.modules.get(module), attribute, None)
        if not (isinstance(kind, type) and issubclass(kind, gym.Wrapper)) or issubclass(kind, RecordVideo):
            unsafe.append(name)
    return unsafe


def _find(name: str, kwargs: Mapping[str, Any]) -> Wrapper:
    try:
        made_by: Any = pkgutil.resolve_name(name)
    except Exception as error:  # an import runs anything
        raise ValueError(f"env_wrapper: cannot import {name}: {type(error).__name__}: {error}") from error
    if not callable(made_by):
        raise ValueError(f"env_wrapper: {name} must be a wrapper's class, got {made_by!r}")

    def wrap(env: gym.Env) -> gym.Env:
        try:
            wrapped = made_by(env, **kwargs)
        except Exception as error:  # so does a constructor
            raise ValueError(f"env_wrapper: {name} cannot wrap {env}: {type(error).__name__}: {error}") from error
        if not isinstance(wrapped, gym.Env):
            raise ValueError(f"env_wrapper: {name} must return a Gymnasium environment, got {wrapped!r}")
        return wrapped

    return wrap
