"""Updates that give numbers that are not finite."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class DivergedError(ValueError):
    """An update gave NaN or infinity. The agent, which is as it was before the update, can be saved."""


def diverged(
    updates: range, step: int, wrong: str, rates: Mapping[str, float], rewards: np.ndarray, reward_scale: float
) -> DivergedError:
    """Returns the error that says what was not finite, and what to look at.

    Args:
        updates: The numbers of the updates.
        step: The environment step.
        wrong: What was not finite.
        rates: The learning rates, by name.
        rewards: The stored rewards, scaled.
        reward_scale: What they were multiplied by.
    """
    which = f"update {updates[0]}" if len(updates) == 1 else f"updates {updates[0]} to {updates[-1]}"
    return DivergedError(
        f"{which}, at step {step}, gave numbers that are not finite: {wrong}. Training has diverged and stopped; the "
        "agent is as it was before, and can be saved. Look at the learning rates, "
        f"{', '.join(f'{name} ({rate:g})' for name, rate in rates.items())}, and at the rewards: the largest stored, "
        f"times reward_scale={reward_scale:g}, is {np.abs(rewards).max(initial=0.0):g}"
    )
