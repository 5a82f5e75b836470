"""Reasons to stop training early."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from pamdp_agents.callbacks.base import BaseCallback
from pamdp_agents.callbacks.evaluation import EvalCallback
from pamdp_agents.checks import check_integer


class StopTrainingOnRewardThreshold(BaseCallback):
    """Stops training once the best mean return reaches a threshold.

    It works as `EvalCallback`'s `callback_on_new_best` or `callback_after_eval`.

    Args:
        reward_threshold: The mean return to stop at.
        verbose: 1 to say so when stopping.
    """

    def __init__(self, reward_threshold: float, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.reward_threshold = reward_threshold

    def _on_step(self) -> bool:
        best = _evaluation_of(self).best_mean_reward
        if best < self.reward_threshold:
            return True
        if self.verbose >= 1:
            tqdm.write(f"Stopping: the mean return {best:.2f} has reached the threshold {self.reward_threshold}.")
        return False


class StopTrainingOnNoModelImprovement(BaseCallback):
    """Stops training when evaluations no longer improve.

    It works as `EvalCallback`'s `callback_after_eval`.

    Args:
        max_no_improvement_evals: Evaluations in a row without a new best that are still accepted.
        min_evals: Evaluations before counting starts.
        verbose: 1 to say so when stopping.
    """

    def __init__(self, max_no_improvement_evals: int, min_evals: int = 0, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.max_no_improvement_evals = max_no_improvement_evals
        self.min_evals = min_evals
        self.last_best_mean_reward = -np.inf
        self.no_improvement_evals = 0

    def _on_step(self) -> bool:
        best = _evaluation_of(self).best_mean_reward
        if self.n_calls > self.min_evals:
            self.no_improvement_evals = 0 if best > self.last_best_mean_reward else self.no_improvement_evals + 1
        self.last_best_mean_reward = best
        go_on = self.no_improvement_evals <= self.max_no_improvement_evals
        if self.verbose >= 1 and not go_on:
            tqdm.write(f"Stopping: no new best in the last {self.no_improvement_evals} evaluations.")
        return go_on


class StopTrainingOnMaxEpisodes(BaseCallback):
    """Stops training after a number of episodes.

    Args:
        max_episodes: Episodes per parallel environment: with n of them, n times as many are played in total.
        verbose: 1 to say so when stopping.
    """

    def __init__(self, max_episodes: int, verbose: int = 0) -> None:
        super().__init__(verbose)
        self.max_episodes = check_integer("max_episodes", max_episodes, at_least=1)
        self.n_episodes = 0

    def _init_callback(self) -> None:
        self._total_max_episodes = self.max_episodes * self.model.n_envs

    def _on_step(self) -> bool:
        self.n_episodes += int(np.sum(self.locals["dones"]))
        go_on = self.n_episodes < self._total_max_episodes
        if self.verbose >= 1 and not go_on:
            tqdm.write(f"Stopping: {self.n_episodes} episodes played in {self.num_timesteps} steps.")
        return go_on


def _evaluation_of(callback: BaseCallback) -> EvalCallback:
    if not hasattr(callback.parent, "best_mean_reward"):
        raise RuntimeError(
            f"{type(callback).__name__} works only within an EvalCallback: pass it as callback_on_new_best or "
            f"callback_after_eval, not to learn. Its parent is {callback.parent!r}."
        )
    return callback.parent
