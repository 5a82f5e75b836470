"""Environments of the old `gym` package, and Gymnasium's with spaces of it, taken as Stable-Baselines3 takes them."""

from __future__ import annotations

import inspect
from typing import Any

from gymnasium import spaces

from pamdp_agents.checks import warn_user
from pamdp_agents.spaces.old_gym import is_of_old_gym


def from_old_gym(env: Any) -> Any:
    """Returns an environment of the old package in shimmy's wrapper; any other as it is.

    Raises:
        TypeError: shimmy is not installed or cannot wrap it, or only its spaces are of the old package.
        ValueError: shimmy's spaces would not be the same.
    """
    spaces_of = {name: getattr(env, name, None) for name in ("observation_space", "action_space")}
    old = [name for name, space in spaces_of.items() if is_of_old_gym(space)]
    if not (old or is_of_old_gym(env)):
        return env
    advice = "import gymnasium as gym in its place, and make spaces of gymnasium.spaces"
    if not is_of_old_gym(env):
        which = f"{' and '.join(old)} {'are' if old[1:] else 'is'}"
        raise TypeError(f"env's {which} of the old gym package, which Gymnasium has replaced: {advice}")
    what = f"env, {type(env).__name__}, is of the old gym package, which Gymnasium has replaced"
    if hasattr(env, "num_envs"):
        raise TypeError(f"{what}, and its vector environments cannot be taken: {advice}")
    try:
        import shimmy
    except ImportError:
        raise TypeError(f"{what}: {advice}; or install shimmy (pip install shimmy), which wraps it") from None
    in_26 = "seed" in inspect.signature(env.unwrapped.reset).parameters
    wrapper = shimmy.GymV26CompatibilityV0 if in_26 else shimmy.GymV21CompatibilityV0
    try:
        wrapped = wrapper(env=env)
    except Exception as error:
        raise TypeError(f"{what}, and shimmy's {wrapper.__name__} cannot wrap it ({error}): {advice}") from error
    for name, space in spaces_of.items():
        if _differs(space, getattr(wrapped, name)):
            raise ValueError(
                f"{what}, and shimmy would take its {name} {space} for {getattr(wrapped, name)}, so that numbers or "
                f"the order of actions differ: {advice}"
            )
    warn_user(f"{what}; it is wrapped in shimmy's {wrapper.__name__}. Better: {advice}")
    return wrapped


def _differs(old: Any, new: Any) -> bool:
    """Whether shimmy lost where a `Discrete` starts, or the order of a `Dict`."""
    if isinstance(new, spaces.Dict):
        return list(old.spaces) != list(new.spaces) or any(_differs(old.spaces[key], new[key]) for key in new)
    if isinstance(new, spaces.Tuple):
        return any(_differs(*pair) for pair in zip(old.spaces, new.spaces, strict=True))
    return isinstance(new, spaces.Discrete) and getattr(old, "start", 0) != new.start
