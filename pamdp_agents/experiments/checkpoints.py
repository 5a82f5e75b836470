"""Checkpoints at intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pamdp_agents.callbacks import BaseCallback


class SaveCheckpoints(BaseCallback):
    """Saves every so many environment steps, between two rounds, where no update of one environment's is under way.

    Args:
        save_freq: Environment steps, over all parallel environments, from one checkpoint to the next.
        save: What saves.
    """

    def __init__(self, save_freq: int, save: Callable[[], Any]) -> None:
        super().__init__()
        self.save_freq, self.save = save_freq, save
        self.last_saved = 0

    def _on_training_start(self) -> None:
        self.last_saved = self.num_timesteps

    def _on_rollout_start(self) -> None:
        if self.model.num_timesteps - self.last_saved >= self.save_freq:
            self.last_saved = self.model.num_timesteps
            self.save()

    def _on_step(self) -> bool:
        return True
