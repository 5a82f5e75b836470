"""What is done at intervals: log dumps, checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pamdp_agents.callbacks.base import BaseCallback, ConvertCallback, EventCallback
from pamdp_agents.checks import check_integer
from pamdp_agents.files.atomic import write_file


class EveryNTimesteps(EventCallback):
    """Calls a callback every so many environment steps.

    Args:
        n_steps: Environment steps, over all parallel environments, from one call to the next.
        callback: The callback to call.
    """

    def __init__(self, n_steps: int, callback: BaseCallback) -> None:
        super().__init__(callback)
        self.n_steps = check_integer("n_steps", n_steps, at_least=1)
        self.last_time_trigger = 0

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self.last_time_trigger = min(self.last_time_trigger, self.num_timesteps)  # a new run counts from 0 again

    def _on_step(self) -> bool:
        if self.num_timesteps - self.last_time_trigger < self.n_steps:
            return True
        self.last_time_trigger = self.num_timesteps
        return self._on_event()


class LogEveryNTimesteps(EveryNTimesteps):
    """Writes the log every so many environment steps.

    Args:
        n_steps: Environment steps, over all parallel environments, from one row to the next.
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__(n_steps, ConvertCallback(lambda locals_, globals_: self.model.dump_logs()))


class CheckpointCallback(BaseCallback):
    """Saves the agent at intervals, as `{save_path}/{name_prefix}_{num_timesteps}_steps.zip`.

    Args:
        save_freq: Calls from one checkpoint to the next. Each call is a step of all parallel environments: for
            a number of environment steps use `max(steps // n_envs, 1)`.
        save_path: The folder; it is made if needed.
        name_prefix: The beginning of every file's name.
        save_replay_buffer: Whether to save the replay buffer too, as `{name_prefix}_replay_buffer_…_steps`.
        save_vecnormalize: Whether to save the statistics of SB3's `VecNormalize` too, as
            `{name_prefix}_vecnormalize_…_steps.pkl`.
        verbose: 2 to tell of every file written.
    """

    def __init__(
        self,
        save_freq: int,
        save_path: str | Path,
        name_prefix: str = "rl_model",
        save_replay_buffer: bool = False,
        save_vecnormalize: bool = False,
        verbose: int = 0,
    ) -> None:
        super().__init__(verbose)
        self.save_freq = check_integer("save_freq", save_freq, at_least=1)
        self.save_path = save_path
        self.name_prefix = name_prefix
        self.save_replay_buffer = save_replay_buffer
        self.save_vecnormalize = save_vecnormalize

    def _init_callback(self) -> None:
        os.makedirs(self.save_path, exist_ok=True)

    def _on_step(self) -> bool:
        if self.n_calls % self.save_freq != 0:
            return True
        self._save("agent", self.model.save, "", ".zip")
        if self.save_replay_buffer and getattr(self.model, "replay_buffer", None) is not None:
            self._save("replay buffer", self.model.save_replay_buffer, "replay_buffer_", "")  # its suffix: the agent's
        if self.save_vecnormalize and self.model.get_vec_normalize_env() is not None:
            vec_normalize = self.model.get_vec_normalize_env()
            self._save("VecNormalize", lambda path: write_file(Path(path), vec_normalize.save), "vecnormalize_", ".pkl")
        return True

    def _save(self, what: str, save: Callable[[str], Any], kind: str, suffix: str) -> None:
        name = f"{self.name_prefix}_{kind}{self.num_timesteps}_steps{suffix}"
        path = os.path.join(self.save_path, name)
        save(path)
        if self.verbose >= 2:
            tqdm.write(f"Saved a checkpoint of the {what} to {path}")
