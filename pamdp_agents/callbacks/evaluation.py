"""Evaluation at intervals."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from tqdm import tqdm

from pamdp_agents.callbacks.base import BaseCallback, EventCallback
from pamdp_agents.checks import check_integer
from pamdp_agents.environments.vec_normalize import find_vec_normalize
from pamdp_agents.evaluation import play_episodes
from pamdp_agents.files.archive import npz_bytes
from pamdp_agents.files.atomic import write_bytes


class EvalCallback(EventCallback):
    """Evaluates the agent at intervals, logs its mean return, and keeps the best agent so far.

    Logs `eval/mean_reward`, `eval/mean_ep_length` and, if infos at the end of episodes have `is_success`,
    `eval/success_rate`. Writes `{log_path}/evaluations.npz`, whole or not at all, with `timesteps` [n], `results` and
    `ep_lengths` [n, n_eval_episodes], and `successes` if there are any.

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
        self.eval_env = gym.make(eval_env) if isinstance(eval_env, str) else eval_env
        self.callback_on_new_best = callback_on_new_best
        if callback_on_new_best is not None:
            callback_on_new_best.parent = self
        self.n_eval_episodes = check_integer("n_eval_episodes", n_eval_episodes, at_least=1)
        self.eval_freq = eval_freq
        self.log_path = None if log_path is None else os.path.join(log_path, "evaluations")
        self.best_model_save_path = best_model_save_path
        self.deterministic = deterministic
        self.render = render
        self.warn = warn and not isinstance(eval_env, str)  # nothing stands around that one
        self.best_mean_reward = -np.inf
        self.last_mean_reward = -np.inf
        self.evaluations_timesteps: list[int] = []
        self.evaluations_results: list[list[float]] = []
        self.evaluations_length: list[list[int]] = []
        self.evaluations_successes: list[list[bool]] = []
        self._is_success_buffer: list[bool] = []  # of the last evaluation

    def _init_callback(self) -> None:
        training, evaluation = (find_vec_normalize(env) is not None for env in (self.training_env, self.eval_env))
        if training != evaluation:
            warnings.warn(
                f"Only the {'training' if training else 'evaluation'} environment is in VecNormalize: the agent is "
                "evaluated on other numbers than it is trained on. Wrap both alike.",
                UserWarning,
                stacklevel=2,
            )
        for folder in (self.best_model_save_path, self.log_path and os.path.dirname(self.log_path)):
            if folder is not None:
                os.makedirs(folder, exist_ok=True)
        if self.callback_on_new_best is not None:
            self.callback_on_new_best.init_callback(self.model)

    def _on_step(self) -> bool:
        if self.eval_freq <= 0 or self.n_calls % self.eval_freq != 0:
            return True
        self._sync_normalization()
        rewards, lengths, successes = play_episodes(
            self.model,
            self.eval_env,
            self.n_eval_episodes,
            self.deterministic,
            render=self.render,
            callback=self._log_success_callback,
            warn=self.warn,
        )
        self._is_success_buffer = successes
        self.last_mean_reward = float(np.mean(rewards))
        is_best = self.last_mean_reward > self.best_mean_reward
        # Before the evaluation is noted: killed in between, the best agent of those noted, or a better one, is kept.
        if is_best and self.best_model_save_path is not None:
            self.model.save(os.path.join(self.best_model_save_path, "best_model"))
        self._write(rewards, lengths, successes)
        self._log(rewards, lengths, successes)

        go_on = True
        if is_best:
            self.best_mean_reward = self.last_mean_reward
            if self.verbose >= 1:
                tqdm.write("New best mean reward!")
            if self.callback_on_new_best is not None:
                go_on = self.callback_on_new_best.on_step()
        return self._on_event() and go_on

    def update_child_locals(self, locals_: dict[str, Any]) -> None:
        """Pass the training loop's variables on to both callbacks."""
        super().update_child_locals(locals_)
        if self.callback_on_new_best is not None:
            self.callback_on_new_best.update_locals(locals_)

    def _log_success_callback(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        """Follows each step of an evaluation, by Stable-Baselines3's name: for subclasses that look at infos."""

    def _sync_normalization(self) -> None:
        if self.model.get_vec_normalize_env() is not None:
            from stable_baselines3.common.vec_env import (
                sync_envs_normalization,
            )  # there, since VecNormalize is

            sync_envs_normalization(self.training_env, self.eval_env)

    def _write(self, rewards: list[float], lengths: list[int], successes: list[bool]) -> None:
        if self.log_path is None:
            return
        self.evaluations_timesteps.append(self.num_timesteps)
        self.evaluations_results.append(rewards)
        self.evaluations_length.append(lengths)
        evaluations: dict[str, list] = {
            "timesteps": self.evaluations_timesteps,
            "results": self.evaluations_results,
            "ep_lengths": self.evaluations_length,
        }
        if successes:
            self.evaluations_successes.append(successes)
            evaluations["successes"] = self.evaluations_successes
        arrays = {name: np.asarray(values) for name, values in evaluations.items()}
        write_bytes(Path(f"{self.log_path}.npz"), npz_bytes(arrays))

    def _log(self, rewards: list[float], lengths: list[int], successes: list[bool]) -> None:
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
