"""What is given to a replay buffer by hand, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pamdp_agents.checks import check_masks, holds_truth_values
from pamdp_agents.experience.transition import NEXT_MASK


def without_last_axis(given: Any) -> Any:
    """Returns an array [n, 1], which Stable-Baselines3 makes of n single numbers, as [n]; all else as it is."""
    return given[:, 0] if isinstance(given, np.ndarray) and given.shape[1:] == (1,) else given


def times(rewards: np.ndarray, scale: float) -> np.ndarray:
    """Returns rewards times a scale, float32; infinite if it cannot hold them."""
    with np.errstate(over="ignore", under="ignore"):
        return (rewards.astype(np.float64) * scale).astype(np.float32)


def count(n: int | None) -> str:
    """Returns how many transitions must be given, in words; None: one that is in no batch."""
    return "one" if n is None else str(n)


def read_array(name: str, given: Any, n: int, single: bool) -> np.ndarray:
    """Returns an array [n] of one entry for each transition."""
    try:
        values = np.asarray(given)
    except ValueError:  # ragged
        values = np.zeros((0, 0))
    values = without_last_axis(values[None] if single and values.shape == () else values)
    if values.shape != (n,):
        raise ValueError(
            f"{name} must be of shape ({n},), one for each transition, got shape {values.shape}: {given!r}"
        )
    return values


def read_done(given: Any, n: int, single: bool) -> np.ndarray:
    """Returns whether n episodes ended, bool [n]; raises TypeError for what is no truth value."""
    values = read_array("done", given, n, single)
    if not holds_truth_values(values):
        raise TypeError(f"done must be {n} of True and False (or 1 and 0), got {given!r}")
    return values.astype(bool)


def read_timeouts(given: Any, n: int, single: bool) -> np.ndarray:
    """Returns which of n infos say that a time limit ended the episode, bool [n]; raises TypeError for others."""
    infos = [given] if single and isinstance(given, Mapping) else given
    if (
        not isinstance(infos, list | tuple | np.ndarray)
        or len(infos) != n
        or not all(isinstance(info, Mapping) for info in infos)
    ):
        raise TypeError(f"infos must be a list of {n} dicts, one for each transition, got {given!r}")
    return np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])


def read_next_masks(
    given: Any, single: bool, n_actions: int, ended: np.ndarray, is_masked: bool
) -> dict[str, np.ndarray]:
    """Returns which discrete actions infos say are allowed after transitions, bool [n, K], by its name.

    Where one says nothing, or the episode has ended and nothing is done any more, all are.

    Args:
        given: The infos, which have been checked.
        single: Whether they are one transition's.
        n_actions: K.
        ended: Whether episodes have really ended, bool [n].
        is_masked: Whether this is stored; if not, nothing is returned.

    Raises:
        TypeError, ValueError: One is no mask, or allows nothing.
        ValueError: They say something, and it is not stored.
    """
    infos = [given] if single and isinstance(given, Mapping) else given
    if not is_masked and any("action_mask" in info for info in infos):
        raise ValueError(
            "infos have action_mask, but the agent has not learned in an environment that gives action masks, so that "
            "they would not be stored; call learn there first, with total_timesteps=1, say"
        )
    all_actions = np.ones(n_actions, bool)
    masks = []
    for info, end in zip(infos, ended, strict=True):
        mask = all_actions if end else info.get("action_mask", all_actions)
        masks.append(check_masks("action_mask", mask, 1, [n_actions])[0])
    return {NEXT_MASK: np.stack(masks)} if is_masked else {}
