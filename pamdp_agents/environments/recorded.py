"""What others say in infos about episodes: recorders of their returns and lengths, and reports of success.

An environment may use the same keys for things of its own, so that what is there is looked at before it is believed.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics

RECORDERS = {"RecordEpisodeStatistics", "Monitor", "VecMonitor"}
"""Classes of Gymnasium's and Stable-Baselines3's recorders."""


def recorded_episode(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what a recorder says of the episode that a step ended, or None if none does.

    Args:
        info: The step's info, in which Gymnasium's `RecordEpisodeStatistics` and Stable-Baselines3's `Monitor` put
            `"episode"`.

    Returns:
        The same with `"r"`, the return, as a float, which may not be finite, `"l"`, the length in steps, as an int,
        and `"t"`, if it is a finite number of seconds, as a float.
    """
    given = info.get("episode")
    if not isinstance(given, Mapping):
        return None
    episode_return, length = read_number(given.get("r")), read_number(given.get("l"))
    if episode_return is None or length is None or not np.isfinite(length):
        return None
    episode = {**given, "r": episode_return, "l": int(length)}
    seconds = read_number(episode.pop("t", None))
    if seconds is not None and np.isfinite(seconds):
        episode["t"] = seconds
    return episode


def finite_episode(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the same, or None also if the return is not finite: then whoever counts rewards knows more."""
    episode = recorded_episode(info)
    return episode if episode is not None and np.isfinite(episode["r"]) else None


def read_number(value: Any) -> float | None:
    """Returns a number, or an array of one, as a float; None if it is something else."""
    if isinstance(value, float | int):
        try:
            return float(value)
        except OverflowError:  # an integer beyond any float
            return math.inf if value > 0 else -math.inf
    array = np.asarray(value) if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__") else None
    return float(array.item()) if array is not None and array.size == 1 and array.dtype.kind in "biuf" else None


def read_flag(value: Any) -> bool | None:
    """Returns a truth value, or a number that stands for one, as a bool; None if it is something else."""
    number = read_number(value)
    return None if number is None or np.isnan(number) else bool(number)


def has_recorder(env: Any) -> bool:
    """Whether a wrapper records episodes under `info["episode"]`, in this process or in those of a vector environment.

    Args:
        env: An environment of any kind that waits for no step to end.
    """
    return _is_wrapped_here(env) or _is_wrapped_in_sb3(env) or _is_wrapped_in_processes(env)


def _is_wrapped_here(env: Any) -> bool:
    while env is not None:
        if RECORDERS & {cls.__name__ for cls in type(env).__mro__}:
            return getattr(env, "_stats_key", "episode") == "episode"
        attributes = getattr(env, "__dict__", {})
        if several := attributes.get("envs"):
            return all(map(_is_wrapped_here, several))
        # An environment that is no wrapper may hold others for purposes of its own.
        is_wrapper = isinstance(env, gym.Wrapper | gym.vector.VectorWrapper)
        env = attributes.get("env") if is_wrapper else attributes.get("venv")
    return False


def _is_wrapped_in_sb3(env: Any) -> bool:
    """Asks a vector environment with Stable-Baselines3's interface, whose environments may be in other processes."""
    if not hasattr(env, "env_is_wrapped"):
        return False
    monitor = getattr(sys.modules.get("stable_baselines3.common.monitor"), "Monitor", None)
    try:
        yes = [True] * env.num_envs  # methods that a class has because it must may say anything
        if monitor is not None and env.env_is_wrapped(monitor) == yes:
            return True
        keys = ["episode"] * env.num_envs
        return env.env_is_wrapped(RecordEpisodeStatistics) == yes and env.get_attr("_stats_key") == keys
    except (AttributeError, NotImplementedError):  # those that have only part of the interface
        return False


def _is_wrapped_in_processes(env: Any) -> bool:
    """Asks Gymnasium's vector environments, which can be asked for attributes only."""
    unwrapped: Any = getattr(env, "unwrapped", None)
    if not hasattr(unwrapped, "processes") or not hasattr(unwrapped, "call"):
        return False
    if all(unwrapped.call("has_wrapper_attr", "_stats_key")):
        return set(unwrapped.call("_stats_key")) == {"episode"}
    return all(unwrapped.call("has_wrapper_attr", "get_episode_rewards"))  # SB3's Monitor
