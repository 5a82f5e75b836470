"""The training of one agent in its run folder: what is saved, logged, drawn and measured, and what is found there."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.experiments.measure import EVALUATION_SEED, measure
from pamdp_agents.experiments.outcomes import BEST_MODEL, CHECKPOINT, MODEL, TrainedAgent
from pamdp_agents.files.archive import read_npz
from pamdp_agents.files.atomic import write_json

EVALUATION, EVALUATIONS = "evaluation.json", "evaluations.npz"


@dataclass(frozen=True)
class KeptTraining:
    """An agent in training, where it is evaluated, and where it is kept.

    Attributes:
        agent: The agent, an `Agent`.
        eval_env: Where it is evaluated.
        folder: Its run folder.
        n_timesteps: The step at which its training ends.
    """

    agent: Any
    eval_env: gym.Env
    folder: Path
    n_timesteps: int

    @property
    def steps_left(self) -> int:
        """Environment steps that remain."""
        return max(self.n_timesteps - self.agent.num_timesteps, 0)

    def make_callbacks(self, eval_freq: int, eval_episodes: int, save_freq: int, verbose: int) -> list[Any]:
        """Returns what evaluates and saves at intervals; evaluations go on from those in the folder."""
        callbacks: list[Any] = []
        if eval_freq:
            from pamdp_agents.callbacks import EvalCallback, EveryNTimesteps

            self.eval_env.reset(seed=EVALUATION_SEED)
            evaluation = EvalCallback(
                RecordEpisodeStatistics(self.eval_env),
                n_eval_episodes=eval_episodes,
                eval_freq=1,
                log_path=self.folder,
                best_model_save_path=self.folder,
                verbose=verbose,
            )
            callbacks.append(EveryNTimesteps(eval_freq, evaluation))
            callbacks[0].last_time_trigger = self._restore_evaluations(evaluation)
        if save_freq:
            from pamdp_agents.experiments.checkpoints import SaveCheckpoints

            callbacks.append(SaveCheckpoints(save_freq, self.save_checkpoint))
        return callbacks

    def _restore_evaluations(self, evaluation: Any) -> int:
        """Gives a callback the evaluations in the folder; returns the step of the last that this training made."""
        file = self.folder / EVALUATIONS
        if not (self.agent.num_timesteps and file.is_file()):
            return 0
        arrays = read_npz(file.read_bytes(), str(file))
        try:
            steps = [int(step) for step in arrays["timesteps"]]
            evaluation.evaluations_timesteps = steps
            evaluation.evaluations_results = [list(map(float, row)) for row in arrays["results"]]
            evaluation.evaluations_length = [list(map(int, row)) for row in arrays["ep_lengths"]]
            evaluation.evaluations_successes = [list(map(bool, row)) for row in arrays.get("successes", ())]
            if (self.folder / BEST_MODEL).is_file():
                evaluation.best_mean_reward = max(float(np.mean(row)) for row in arrays["results"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file} does not hold evaluations ({error!r}): move it away to go on without") from error
        return max((step for step in steps if step <= self.agent.num_timesteps), default=0)

    def save_model(self) -> None:
        """Saves the agent as it is, without its replay buffer."""
        self.agent.save(self.folder / MODEL)

    def save_checkpoint(self) -> None:
        """Saves all that is needed to go on, in place of the last checkpoint: one file, whole or not at all."""
        self.agent.save(self.folder / CHECKPOINT, include=self.agent.saved_apart)

    def read_evaluation(self) -> dict[str, Any] | None:
        """Returns the evaluation after training if it is that of the agent as it is, else None."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            measured = json.loads((self.folder / EVALUATION).read_text(encoding="utf-8"))
            if isinstance(measured, dict) and measured.pop("num_timesteps", None) == self.agent.num_timesteps:
                return measured
        return None

    def evaluate(self, n_episodes: int) -> dict[str, Any]:
        """Returns what is measured of the agent as it is, after writing it to the folder."""
        measured = measure(self.agent, self.eval_env, n_episodes, deterministic=True, seed=EVALUATION_SEED)
        write_json(self.folder / EVALUATION, {"num_timesteps": self.agent.num_timesteps} | measured)
        return measured

    def kept(self, evaluation: dict[str, Any] | None = None) -> TrainedAgent:
        """Returns what is left of it, in plain values."""
        return TrainedAgent(self.agent.seed, self.folder, self.agent.num_timesteps, evaluation or {})
