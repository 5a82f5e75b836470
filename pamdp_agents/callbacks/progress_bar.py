"""A progress bar."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from pamdp_agents.callbacks.base import BaseCallback


class ProgressBarCallback(BaseCallback):
    """A progress bar: steps done of this run, steps per second, and the mean return of the last episodes.

    It costs next to nothing per step: tqdm looks at the clock only now and then, and the mean is computed only
    when the bar was drawn, at most ten times a second.
    """

    pbar: tqdm | None = None

    def _on_training_start(self) -> None:
        self._on_training_end()  # of a run that broke off
        self._start = self.model.num_timesteps
        self._total = self.model._total_timesteps - self._start
        self.pbar = tqdm(total=self._total, unit=" steps")

    def _on_step(self) -> bool:
        # The last steps of parallel environments may overshoot the total, which tqdm would then forget.
        done = min(self.num_timesteps - self._start, self._total)
        if self.pbar is not None and self.pbar.update(done - self.pbar.n):
            self._show_return()
        return True

    def _on_training_end(self) -> None:
        if self.pbar is not None:
            self._show_return()
            self.pbar.close()
            self.pbar = None

    def _show_return(self) -> None:
        episodes = self.model.ep_info_buffer
        if self.pbar is not None and episodes:
            self.pbar.set_postfix_str(f"return={np.mean([episode['r'] for episode in episodes]):.2f}", refresh=False)
