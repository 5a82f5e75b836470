"""How far training has come: what is counted, logged of it, and saved."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

from pamdp_agents.checks import check_integer
from pamdp_agents.environments.canonical import Step
from pamdp_agents.environments.recorded import finite_episode, read_flag, read_number
from pamdp_agents.logger import Logger


class Progress:
    """Counts of an agent's training, over all its calls of `learn`.

    Args:
        stats_window_size: Episodes over which returns are averaged.

    Attributes:
        num_timesteps: Environment steps made.
        total_timesteps: The step at which the run ends.
        num_timesteps_at_start: The step at which it began.
        episodes: Episodes ended.
        n_updates: Updates made.
        round_timesteps: Environment steps made in the round under way, after which updates will be due; None: none is.
        round_steps: Steps of all environments at once made in it.
        round_episodes: Episodes ended in it.
        due: Updates that are due and not yet made.
        remaining: How much of the run remains, from 1 at its start to 0 at its end.
        start_time: When it began, in nanoseconds since 1970 (`time.time_ns`), as in Stable-Baselines3.
        ep_info_buffer: {"r": return, "l": length, "t": seconds} of the last episodes, and what else a recorder says.
        ep_success_buffer: `info["is_success"]` of the same, where the environment gives it as a truth value.
    """

    def __init__(self, stats_window_size: int):
        self.num_timesteps = self.total_timesteps = self.num_timesteps_at_start = 0
        self.episodes = self.n_updates = 0
        self.due: int | None = None
        self.round_timesteps: int | None = None
        self.round_steps = self.round_episodes = 0
        self.remaining = 1.0
        self.start_time = 0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=stats_window_size)
        self.ep_success_buffer: deque[bool] = deque(maxlen=stats_window_size)

    def start(self, timesteps: int, reset: bool) -> None:
        """Starts a run, or continues the last one.

        Args:
            timesteps: Environment steps to make.
            reset: Count from 0.
        """
        self.start_time = time.time_ns()
        if reset:
            self.num_timesteps = self.episodes = 0
            self.forget_round()
            self.ep_info_buffer.clear()
            self.ep_success_buffer.clear()
        self.num_timesteps_at_start = self.num_timesteps
        self.total_timesteps = self.num_timesteps + timesteps
        self.count_steps(0)

    def begin_round(self) -> None:
        """Begins a round, unless one is under way: it may have been interrupted, or saved, within it."""
        if self.round_timesteps is None:
            self.round_timesteps = self.round_steps = self.round_episodes = 0

    def forget_round(self) -> None:
        """Forgets the round under way and what is due: the next one begins anew."""
        self.round_timesteps = self.due = None
        self.round_steps = self.round_episodes = 0

    def end_round(self) -> int:
        """Ends the round under way; returns the number of environment steps made in it."""
        assert self.round_timesteps is not None
        steps, self.round_timesteps = self.round_timesteps, None
        return steps

    def count_updates(self, updates: int, made: int | None = None) -> None:
        """Counts updates that are no longer due.

        Args:
            updates: Their number.
            made: How many of them were made; None: all.
        """
        self.n_updates += updates if made is None else made
        self.due = max((self.due or 0) - updates, 0) or None

    def count_steps(self, steps: int) -> None:
        """Counts environment steps made."""
        self.num_timesteps += steps
        if self.round_timesteps is not None:
            self.round_timesteps += steps
        # The last round may go past the total.
        self.remaining = max(1.0 - self.num_timesteps / self.total_timesteps, 0.0)

    def end_episodes(self, step: Step, log_interval: int | None) -> bool:
        """Counts the episodes that a step ended.

        Args:
            step: The step.
            log_interval: Episodes between two log dumps, or None.

        Returns:
            Whether it is time for a log dump.
        """
        log = False
        for i in step.ended_in:
            self.episodes += 1
            episode, success = finite_episode(step.infos[i]), read_flag(step.infos[i].get("is_success"))
            if episode is not None:
                self.ep_info_buffer.append(episode)
            if success is not None:
                self.ep_success_buffer.append(success)
            log = log or (log_interval is not None and self.episodes % log_interval == 0)
        return log

    def record(self, logger: Logger) -> None:
        """Records the numbers of the last episodes, and the time, by Stable-Baselines3's keys."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, 1e-9)
        if self.ep_info_buffer:
            logger.record("rollout/ep_rew_mean", float(np.mean([episode["r"] for episode in self.ep_info_buffer])))
            logger.record("rollout/ep_len_mean", float(np.mean([episode["l"] for episode in self.ep_info_buffer])))
        if self.ep_success_buffer:
            logger.record("rollout/success_rate", float(np.mean(self.ep_success_buffer)))
        logger.record("time/episodes", self.episodes, exclude="tensorboard")
        logger.record("time/fps", int((self.num_timesteps - self.num_timesteps_at_start) / seconds))
        logger.record("time/time_elapsed", int(seconds), exclude="tensorboard")
        logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")

    def state(self) -> dict[str, Any]:
        """Returns what `restore` needs, as JSON can hold it."""
        return {
            "num_timesteps": self.num_timesteps,
            "total_timesteps": self.total_timesteps,
            "episodes": self.episodes,
            "n_updates": self.n_updates,
            "round": None
            if self.round_timesteps is None
            else [self.round_timesteps, self.round_steps, self.round_episodes],
            "due": self.due,
            "ep_info_buffer": _finite(self.ep_info_buffer),
            "ep_success_buffer": [bool(success) for success in self.ep_success_buffer],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of the wrong type.
            ValueError: Something is out of range.
        """
        for name in ("num_timesteps", "total_timesteps", "episodes", "n_updates"):
            setattr(self, name, check_integer(name, state[name], 0))
        if self.total_timesteps:
            self.count_steps(0)
        # Files of before these were kept have neither.
        if (under_way := state.get("round")) is not None:
            counts = [check_integer("round", count, 0) for count in under_way]
            self.round_timesteps, self.round_steps, self.round_episodes = counts
        if (due := state.get("due")) is not None:
            self.due = check_integer("due", due, 0)
        for episode in state["ep_info_buffer"]:
            if not {"r", "l"} <= episode.keys():
                raise ValueError(f"ep_info_buffer holds an episode of {sorted(episode)}, without r or l")
            if not (type(episode["l"]) in (int, float) and episode["l"] >= 0 and episode["l"] == episode["l"] // 1):
                raise ValueError(f"l must be a whole number of at least 0, got {episode['l']!r}")  # of any size
            # What its environment said may be NaN.
            if not all(type(value) in (int, float) for value in episode.values()):
                raise TypeError(f"ep_info_buffer must hold numbers, got {episode}")
            self.ep_info_buffer.append(dict(episode))
        self.ep_success_buffer.extend(bool(success) for success in state["ep_success_buffer"])


def _finite(episodes: Iterable[Any]) -> list[dict[str, float | int]]:
    """Returns what a file holds of episodes: finite numbers, for callbacks and recorders may add other things."""
    saved = []
    for given in episodes:
        episode = finite_episode({"episode": given})
        if episode is not None:
            numbers = {key: value if key == "l" else read_number(value) for key, value in episode.items()}
            saved.append({key: value for key, value in numbers.items() if value is not None and math.isfinite(value)})
    return saved
