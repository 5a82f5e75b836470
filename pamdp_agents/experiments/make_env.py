"""Environments by their ids."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym

from pamdp_agents.experiments.display import has_display
from pamdp_agents.experiments.env_wrappers import Wrapper


def import_packages(names: Sequence[str]) -> list[str]:
    """Imports packages, which register their environments; returns the names.

    Raises:
        TypeError: They are not several names.
        ValueError: One cannot be imported.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"gym_packages must be names of packages, got {names!r}")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # a package runs anything when it is imported
            raise ValueError(f"gym_packages: cannot import {name} ({type(error).__name__}: {error})") from error
    return list(names)


def make_env(
    env_id: str,
    kwargs: dict[str, Any],
    render_mode: str | None = None,
    n_envs: int = 1,
    wrappers: Sequence[Wrapper] = (),
) -> Any:
    """Returns a new environment, or a vector environment of several.

    Args:
        env_id: Its id.
        kwargs: Its arguments.
        render_mode: How it is rendered; None: as `kwargs` say, or else not at all.
        n_envs: How many of them.
        wrappers: What each of them is wrapped in, the innermost first.

    Raises:
        ValueError: It cannot be made.
    """
    rendering: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    if (kwargs | rendering).get("render_mode") == "human" and not has_display():
        raise ValueError("env_kwargs: render_mode 'human' opens a window, and there is no display for one")
    try:
        if n_envs > 1:
            # An environment's own vector form cannot be wrapped one by one.
            wrapping: dict[str, Any] = {"wrappers": wrappers, "vectorization_mode": "sync"} if wrappers else {}
            return gym.make_vec(env_id, num_envs=n_envs, **wrapping, **rendering, **kwargs)
        env = gym.make(env_id, **rendering, **kwargs)
    except Exception as error:  # an environment's constructor raises anything
        if wrappers and str(error).startswith("env_wrapper"):
            raise
        raise ValueError(f"cannot make the environment {env_id!r} with {kwargs}: {error}") from error
    for wrap in wrappers:
        env = wrap(env)
    return env
