"""Collect → store → update: what every agent with a replay buffer shares."""

from __future__ import annotations

import copy
import os
import time
from abc import abstractmethod
from typing import Any, Self

import gymnasium as gym
import numpy as np
import tensorflow as tf

from pamdp_agents import callbacks, exploration, saving
from pamdp_agents.agents.base import Agent
from pamdp_agents.environments import Step
from pamdp_agents.replay import ReplayBuffer
from pamdp_agents.validation import check_integer, check_positive, check_range


class OffPolicyAgent(Agent):
    """An agent that learns from a replay buffer and explores with ε-greedy actions and parameter noise.

    Attributes:
        replay_buffer: The stored transitions.
        exploration_rate: ε in use.
    """

    def __init__(
        self,
        policy: str,
        env: gym.Env | str | None,
        *,
        learning_rate: float,
        buffer_size: int,
        learning_starts: int,
        batch_size: int,
        tau: float,
        gamma: float,
        train_freq: int,
        gradient_steps: int,
        exploration_initial_eps: float,
        exploration_final_eps: float,
        exploration_fraction: float,
        exploration_episodes: int | None,
        action_noise: Any,
        reward_scale: float,
        **common: Any,
    ):
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.buffer_size = check_integer("buffer_size", buffer_size, 1)
        self.learning_starts = check_integer("learning_starts", learning_starts, 0)
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.tau = check_range("tau", tau, above=0, to=1)
        self.gamma = check_range("gamma", gamma, at_least=0, to=1)
        self.train_freq = check_integer("train_freq", train_freq, 1)
        self.gradient_steps = check_integer("gradient_steps", gradient_steps, -1)
        self.exploration_initial_eps = check_range("exploration_initial_eps", exploration_initial_eps, at_least=0, to=1)
        self.exploration_final_eps = check_range("exploration_final_eps", exploration_final_eps, at_least=0, to=1)
        self.exploration_fraction = check_range("exploration_fraction", exploration_fraction, above=0, to=1)
        self.exploration_episodes = (
            None if exploration_episodes is None else check_integer("exploration_episodes", exploration_episodes, 1)
        )
        self.action_noise = exploration.get(action_noise)
        self.reward_scale = check_positive("reward_scale", reward_scale)
        self.exploration_rate = self.exploration_initial_eps
        self._metrics: tf.Tensor | None = None
        super().__init__(policy, env, **common)

    def _set_up(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        super()._set_up(observation_space, action_space)
        self.replay_buffer = ReplayBuffer(self.buffer_size, self.layout, self._replay_rng)
        self._weights_changed()

    # ---------------------------------------------------------------- acting

    @abstractmethod
    def _greedy(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best known actions (k [n], x [n, P]) for scaled observations [n, D]."""

    def _choose(self, observations: np.ndarray, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
        k, x = self._greedy(observations)
        if deterministic:
            return k, x
        noise = copy.deepcopy(self.action_noise)  # whoever asks for an action must not move the training's noise
        k, x = k.copy(), x.copy()
        for row in range(len(k)):
            noise.reset()
            k[row], x[row] = self._perturb(k[row], x[row], self.exploration_rate, noise, self._predict_rng)
        return k, x

    def _perturb(
        self, k: int, x: np.ndarray, epsilon: float, noise: exploration.ParameterNoise, rng: np.random.Generator
    ) -> tuple[int, np.ndarray]:
        """Returns a greedy action (k, x [P]) made ε-greedy and noisy, its parameters within [−1, 1]."""
        random = rng.random() < epsilon
        if random:
            k = int(rng.integers(self.actions.n))
        if noise.replaces:
            x = noise.sample(rng, len(x)) if random else x
        else:
            x = x + self.actions.mask[k] * noise.sample(rng, len(x))
        return int(k), np.clip(x, -1.0, 1.0)

    # ---------------------------------------------------------------- learning

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains the agent.

        Args:
            total_timesteps: Environment steps to make.
            callback: A callback, a function of (locals, globals), or a list of them.
            log_interval: Episodes between two log dumps; None: no logs.
            tb_log_name: Name of the run in ``tensorboard_log``; default: the agent's class.
            reset_num_timesteps: Start counting (and ε) anew; False continues the previous run.
            progress_bar: Show a progress bar with the mean return and steps per second.

        Returns:
            The agent.

        Raises:
            RuntimeError: The agent has no environment.
            ValueError: The environment returned something that is not finite. The agent can still be saved.
        """
        log_interval = None if log_interval is None else check_integer("log_interval", log_interval, 1)
        total_timesteps, callback = self._set_up_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name or type(self).__name__, progress_bar
        )
        if self._environment is not None and self._environment.episode_length == 0:
            self.action_noise.reset()
        env = self.env  # Stable-Baselines3's callbacks find it in locals
        callback.on_training_start(locals(), globals())
        try:
            going_on = True
            while going_on and self.num_timesteps < total_timesteps:
                going_on = self._collect(callback, log_interval)
                if going_on and self.num_timesteps > self.learning_starts:
                    self._train(self.train_freq if self.gradient_steps == -1 else self.gradient_steps)
        finally:
            callback.on_training_end()
        return self

    def _collect(self, callback: callbacks.BaseCallback, log_interval: int | None) -> bool:
        """Makes ``train_freq`` environment steps and stores them; returns False if a callback says stop."""
        environment = self._environment
        assert environment is not None
        callback.on_rollout_start()
        num_collected_episodes = 0
        for num_collected_steps in range(1, self.train_freq + 1):
            self.exploration_rate = self._epsilon()
            observation = environment.observation
            assert observation is not None
            epsilon = 1.0 if self.num_timesteps < self.learning_starts else self.exploration_rate
            greedy_k, greedy_x = self._greedy(observation[None])
            k, x = self._perturb(greedy_k[0], greedy_x[0], epsilon, self.action_noise, self._explore_rng)
            step = environment.step(k, x, self.num_timesteps + 1)
            self.num_timesteps += 1
            self.replay_buffer.add(
                observation, k, x, step.reward * self.reward_scale, step.observation, step.terminated
            )
            ended = step.terminated or step.truncated
            if ended:
                num_collected_episodes += 1
                self._end_episode(step)
                environment.reset(self.num_timesteps)
            callback.update_locals(
                {
                    "new_obs": step.raw_observation,
                    "actions": step.action,
                    "rewards": np.array([step.reward]),
                    "dones": np.array([ended]),
                    "infos": [step.info],
                    "num_collected_steps": num_collected_steps,
                    "num_collected_episodes": num_collected_episodes,
                }
            )
            if not callback.on_step():
                return False
            if ended and log_interval and self._episode_num % log_interval == 0:
                self.dump_logs()
        callback.on_rollout_end()
        return True

    def _epsilon(self) -> float:
        if self.exploration_episodes is not None:
            done = self._episode_num / self.exploration_episodes
        else:
            done = self.num_timesteps / (self.exploration_fraction * self._total_timesteps)
        return exploration.linear_schedule(self.exploration_initial_eps, self.exploration_final_eps, done)

    def _end_episode(self, step: Step) -> None:
        self._episode_num += 1
        self.action_noise.reset()
        self.ep_info_buffer.append(step.info["episode"])
        if "is_success" in step.info:
            self.ep_success_buffer.append(bool(step.info["is_success"]))

    def _train(self, gradient_steps: int) -> None:
        """Makes updates on samples of the replay buffer, all in one compiled call."""
        if gradient_steps:
            self._metrics = self.learner.train(self.replay_buffer.sample(gradient_steps, self.batch_size))
            self._n_updates += gradient_steps
            self._weights_changed()

    def dump_logs(self) -> None:
        """Writes the current numbers to the logger: Stable-Baselines3's keys, and the update's metrics."""
        seconds = max(time.perf_counter() - self.start_time, 1e-9)
        logger = self.logger
        if self.ep_info_buffer:
            logger.record("rollout/ep_rew_mean", float(np.mean([episode["r"] for episode in self.ep_info_buffer])))
            logger.record("rollout/ep_len_mean", float(np.mean([episode["l"] for episode in self.ep_info_buffer])))
        if self.ep_success_buffer:
            logger.record("rollout/success_rate", float(np.mean(self.ep_success_buffer)))
        logger.record("rollout/exploration_rate", self.exploration_rate)
        logger.record("time/episodes", self._episode_num, exclude="tensorboard")
        logger.record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / seconds))
        logger.record("time/time_elapsed", int(seconds), exclude="tensorboard")
        logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        if self._metrics is not None:
            for name, value in zip(self.metric_names, self._metrics.numpy(), strict=True):
                logger.record(f"train/{name}", float(value))
            logger.record("train/learning_rate", self.learning_rate)
            logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        logger.dump(step=self.num_timesteps)

    # ---------------------------------------------------------------- files

    def save_replay_buffer(self, path: str | os.PathLike) -> None:
        """Saves the replay buffer; ``.npz`` is added if the path has no suffix.

        Raises:
            OSError: The file cannot be written.
        """
        self._require_set_up("save_replay_buffer")
        saving.write_bytes(saving.with_suffix(path, ".npz"), saving.npz_bytes(self._replay_state()))

    def load_replay_buffer(self, path: str | os.PathLike) -> None:
        """Loads what :meth:`save_replay_buffer` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or was saved for other spaces or another buffer size.
        """
        self._require_set_up("load_replay_buffer")
        file = saving.with_suffix(path, ".npz")
        if not file.is_file():
            raise FileNotFoundError(f"there is no saved replay buffer at {file}")
        try:
            self._restore_replay(saving.read_npz(file.read_bytes(), str(file)))
        except KeyError as error:
            raise saving.SavedFileError(f"{file} is not a saved replay buffer: it lacks {error}") from None

    def _replay_state(self) -> dict[str, np.ndarray]:
        return self.replay_buffer.state()

    def _restore_replay(self, state: dict[str, np.ndarray]) -> None:
        self.replay_buffer.restore(state)
        k = self.replay_buffer.rows[: len(self.replay_buffer), self.layout.k]
        if not np.isin(k, np.arange(self.actions.n)).all():
            raise ValueError(f"replay buffer holds discrete actions that are not in 0..{self.actions.n - 1}")

    def _progress(self) -> dict[str, Any]:
        environment = self._environment
        noise = self.action_noise.state
        return {
            "num_timesteps": self.num_timesteps,
            "total_timesteps": self._total_timesteps,
            "episodes": self._episode_num,
            "n_updates": self._n_updates,
            "exploration_rate": self.exploration_rate,
            "noise": None if noise is None else noise.tolist(),
            "ep_info_buffer": list(self.ep_info_buffer),
            "ep_success_buffer": list(self.ep_success_buffer),
            "episode": [environment.episode_return, environment.episode_length] if environment else [0.0, 0],
            "rng": [rng.bit_generator.state for rng in self._rngs],
        }

    def _restore_progress(self, progress: dict[str, Any]) -> None:
        self.num_timesteps = check_integer("num_timesteps", progress["num_timesteps"], 0)
        self._total_timesteps = check_integer("total_timesteps", progress["total_timesteps"], 0)
        self._episode_num = check_integer("episodes", progress["episodes"], 0)
        self._n_updates = check_integer("n_updates", progress["n_updates"], 0)
        self.exploration_rate = check_range("exploration_rate", progress["exploration_rate"], at_least=0, to=1)
        noise = progress["noise"]
        if noise is not None and np.shape(noise) != (self.actions.parameter_size,):
            raise ValueError(f"noise must be None or {self.actions.parameter_size} numbers, got {noise}")
        self.action_noise.state = None if noise is None else np.array(noise, float)
        for episode in progress["ep_info_buffer"]:
            self.ep_info_buffer.append({key: check_range(key, value) for key, value in episode.items()})
        self.ep_success_buffer.extend(bool(success) for success in progress["ep_success_buffer"])
        for rng, state in zip(self._rngs, progress["rng"], strict=True):
            rng.bit_generator.state = state
