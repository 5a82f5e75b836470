"""Environments by their ids."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


def make_env(env_id: str, kwargs: dict[str, Any], render_mode: str | None = None, n_envs: int = 1) -> Any:
    """Returns a new environment, or a vector environment of several.

    Args:
        env_id: Its id.
        kwargs: Its arguments.
        render_mode: How it is rendered, None for not at all.
        n_envs: How many of them.

    Raises:
        ValueError: It cannot be made.
    """
    rendering: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    try:
        if n_envs > 1:
            return gym.make_vec(env_id, num_envs=n_envs, **rendering, **kwargs)
        return gym.make(env_id, **rendering, **kwargs)
    except (gym.error.Error, TypeError, ValueError, ImportError) as error:
        raise ValueError(f"cannot make the environment {env_id!r} with {kwargs}: {error}") from error
