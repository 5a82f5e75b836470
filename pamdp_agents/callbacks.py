"""What happens during training besides learning: a progress bar, checkpoints, evaluation, stopping early.

Messages go through `tqdm.write`, which prints them above a progress bar instead of through it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from pamdp_agents.callback_base import BaseCallback, CallbackList, ConvertCallback, EventCallback, as_callback
from pamdp_agents.evaluation import evaluate_policy, make_eval_env
from pamdp_agents.validation import check_integer

__all__ = [
    "BaseCallback",
    "CallbackList",
    "CheckpointCallback",
    "ConvertCallback",
    "EvalCallback",
    "EventCallback",
    "EveryNTimesteps",
    "LogEveryNTimesteps",
    "ProgressBarCallback",
    "StopTrainingOnMaxEpisodes",
    "StopTrainingOnNoModelImprovement",
    "StopTrainingOnRewardThreshold",
    "as_callback",
]


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


class EveryNTimesteps(EventCallback):
    """Call a callback every so many environment steps.

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
    """Write the log every so many environment steps.

    Args:
        n_steps: Environment steps, over all parallel environments, from one row to the next.
    """

    def __init__(self, n_steps: int) -> None:
        super().__init__(n_steps, ConvertCallback(lambda locals_, globals_: self.model.dump_logs()))


class CheckpointCallback(BaseCallback):
    """Save the agent at intervals, as `{save_path}/{name_prefix}_{num_timesteps}_steps.zip`.

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
            self._save("VecNormalize", self.model.get_vec_normalize_env().save, "vecnormalize_", ".pkl")
        return True

    def _save(self, what: str, save: Callable[[str], Any], kind: str, suffix: str) -> None:
        name = f"{self.name_prefix}_{kind}{self.num_timesteps}_steps{suffix}"
        path = os.path.join(self.save_path, name)
        save(path)
        if self.verbose >= 2:
            tqdm.write(f"Saved a checkpoint of the {what} to {path}")


class EvalCallback(EventCallback):
    """Evaluate the agent at intervals, log its mean return, and keep the best agent so far.

    Logs `eval/mean_reward`, `eval/mean_ep_length` and, if infos at the end of episodes have `is_success`,
    `eval/success_rate`. Writes `{log_path}/evaluations.npz` with `timesteps` [n], `results` and `ep_lengths`
    [n, n_eval_episodes], and `successes` if there are any.

    Args:
        eval_env: Where to evaluate: what `evaluate_policy` takes. It should not be the training environment.
        callback_on_new_best: Called after an evaluation better than all before.
        callback_after_eval: Called after every evaluation.
        n_eval_episodes: Episodes per evaluation.
        eval_freq: Calls from one evaluation to the next, 0 for none. Each call is a step of all parallel
            environments: for a number of environment steps use `max(steps // n_envs, 1)`.
        log_path: The folder for `evaluations.npz`, if it is to be written.
        best_model_save_path: The folder for `best_model.zip`, if it is to be written.
        deterministic: Whether to evaluate without exploration.
        render: Whether to render the evaluation.
        verbose: 1 to print the results.
        warn: Whether to warn if `eval_env` does not record its episodes' statistics.

    Attributes:
        best_mean_reward: The best mean return so far, −∞ before the first evaluation.
        last_mean_reward: The last mean return.
    """

    def __init__(
        self,
        eval_env: gym.Env | gym.vector.VectorEnv | str | Any,
        callback_on_new_best: BaseCallback | None = None,
        callback_after_eval: BaseCallback | None = None,
        n_eval_episodes: int = 5,
        eval_freq: int = 10000,
        log_path: str | Path | None = None,
        best_model_save_path: str | Path | None = None,
        deterministic: bool = True,
        render: bool = False,
        verbose: int = 1,
        warn: bool = True,
    ) -> None:
        super().__init__(callback_after_eval, verbose)
        self.eval_env = make_eval_env(eval_env) if isinstance(eval_env, str) else eval_env
        self.callback_on_new_best = callback_on_new_best
        if callback_on_new_best is not None:
            callback_on_new_best.parent = self
        self.n_eval_episodes = check_integer("n_eval_episodes", n_eval_episodes, at_least=1)
        self.eval_freq = eval_freq
        self.log_path = None if log_path is None else os.path.join(log_path, "evaluations")
        self.best_model_save_path = best_model_save_path
        self.deterministic = deterministic
        self.render = render
        self.warn = warn
        self.best_mean_reward = -np.inf
        self.last_mean_reward = -np.inf
        self.evaluations_timesteps: list[int] = []
        self.evaluations_results: list[list[float]] = []
        self.evaluations_length: list[list[int]] = []
        self.evaluations_successes: list[list[bool]] = []
        self._is_success_buffer: list[bool | None] = []

    def _init_callback(self) -> None:
        for folder in (self.best_model_save_path, self.log_path and os.path.dirname(self.log_path)):
            if folder is not None:
                os.makedirs(folder, exist_ok=True)
        if self.callback_on_new_best is not None:
            self.callback_on_new_best.init_callback(self.model)

    def _on_step(self) -> bool:
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq != 0:
            return True
        self._sync_normalization()
        self._is_success_buffer = []
        rewards, lengths = evaluate_policy(
            self.model,
            self.eval_env,
            n_eval_episodes=self.n_eval_episodes,
            deterministic=self.deterministic,
            render=self.render,
            callback=self._log_success_callback,
            return_episode_rewards=True,
            warn=self.warn,
        )
        self.last_mean_reward = float(np.mean(rewards))
        # An environment may report successes only, so an end without a report counts as none.
        reported = any(success is not None for success in self._is_success_buffer)
        successes = [bool(success) for success in self._is_success_buffer] if reported else []
        self._write(rewards, lengths, successes)
        self._log(rewards, lengths, successes)

        go_on = True
        if self.last_mean_reward > self.best_mean_reward:
            self.best_mean_reward = self.last_mean_reward
            if self.verbose >= 1:
                tqdm.write("New best mean reward!")
            if self.best_model_save_path is not None:
                self.model.save(os.path.join(self.best_model_save_path, "best_model"))
            if self.callback_on_new_best is not None:
                go_on = self.callback_on_new_best.on_step()
        return self._on_event() and go_on

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Pass the training loop's variables on to both callbacks."""
        super().update_child_locals(locals_)
        if self.callback_on_new_best is not None:
            self.callback_on_new_best.update_locals(locals_)

    def _sync_normalization(self) -> None:
        if self.model.get_vec_normalize_env() is not None:
            from stable_baselines3.common.vec_env import (
                sync_envs_normalization,
            )  # there, since VecNormalize is

            sync_envs_normalization(self.training_env, self.eval_env)

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        if locals_["done"]:
            self._is_success_buffer.append(locals_["info"].get("is_success"))

    def _write(self, rewards: Any, lengths: Any, successes: list[bool]) -> None:
        if self.log_path is None:
            return
        self.evaluations_timesteps.append(self.num_timesteps)
        self.evaluations_results.append(rewards)
        self.evaluations_length.append(lengths)
        optional: dict[str, Any] = {}
        if successes:
            self.evaluations_successes.append(successes)
            optional["successes"] = self.evaluations_successes
        np.savez(
            self.log_path,
            timesteps=self.evaluations_timesteps,
            results=self.evaluations_results,
            ep_lengths=self.evaluations_length,
            **optional,
        )

    def _log(self, rewards: Any, lengths: Any, successes: list[bool]) -> None:
        self.logger.record("eval/mean_reward", self.last_mean_reward)
        self.logger.record("eval/mean_ep_length", float(np.mean(lengths)))
        if successes:
            self.logger.record("eval/success_rate", float(np.mean(successes)))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)
        if self.verbose >= 1:
            tqdm.write(
                f"Evaluation at {self.num_timesteps} steps: "
                f"return {np.mean(rewards):.2f} ± {np.std(rewards):.2f}, "
                f"length {np.mean(lengths):.2f} ± {np.std(lengths):.2f}"
                + (f", success rate {np.mean(successes):.1%}" if successes else "")
            )


class StopTrainingOnRewardThreshold(BaseCallback):
    """Stop training once the best mean return reaches a threshold.

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
    """Stop training when evaluations no longer improve.

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
    """Stop training after a number of episodes.

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
