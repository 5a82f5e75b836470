"""Collect → store → update: what every agent with a replay buffer shares."""

from __future__ import annotations

import contextlib
import copy
import os
import time
from abc import abstractmethod
from collections.abc import Generator, Sequence
from typing import Any, Self

import gymnasium as gym
import numpy as np

from pamdp_agents import callbacks, exploration, schedules
from pamdp_agents.base.agent import Agent
from pamdp_agents.checks import check_choice, check_integer, check_positive, check_range
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import CanonicalEnvironments, Step
from pamdp_agents.experience.replay import ReplayBuffer
from pamdp_agents.experience.transition import Batch
from pamdp_agents.files.archive import SavedFileError, npz_bytes, read_npz
from pamdp_agents.files.atomic import with_suffix, write_bytes
from pamdp_agents.schedules import Schedule


class OffPolicyAgent(Agent):
    """An agent that learns from a replay buffer and explores with ε-greedy actions and parameter noise.

    Attributes:
        replay_buffer: The stored transitions.
        exploration_rate: ε in use.
    """

    def __init__(
        self,
        policy: str,
        env: Environment | str | None,
        *,
        learning_rate: float | Schedule,
        buffer_size: int,
        learning_starts: int,
        batch_size: int,
        tau: float,
        gamma: float,
        train_freq: int | tuple[int, str],
        gradient_steps: int,
        exploration_initial_eps: float,
        exploration_final_eps: float,
        exploration_fraction: float,
        exploration_episodes: int | None,
        exploration_schedule: Schedule | None,
        action_noise: Any,
        reward_scale: float,
        **common: Any,
    ):
        self.learning_rate = schedules.get("learning_rate", learning_rate)
        self.buffer_size = check_integer("buffer_size", buffer_size, 1)
        self.learning_starts = check_integer("learning_starts", learning_starts, 0)
        self.batch_size = check_integer("batch_size", batch_size, 1)
        self.tau = check_range("tau", tau, above=0, to=1)
        self.gamma = check_range("gamma", gamma, at_least=0, to=1)
        self.train_freq = _read_train_freq(train_freq)
        self.gradient_steps = check_integer("gradient_steps", gradient_steps, -1)
        self.exploration_initial_eps = check_range("exploration_initial_eps", exploration_initial_eps, at_least=0, to=1)
        self.exploration_final_eps = check_range("exploration_final_eps", exploration_final_eps, at_least=0, to=1)
        self.exploration_fraction = check_range("exploration_fraction", exploration_fraction, above=0, to=1)
        self.exploration_episodes = (
            None if exploration_episodes is None else check_integer("exploration_episodes", exploration_episodes, 1)
        )
        self.exploration_schedule = (
            None if exploration_schedule is None else schedules.get("exploration_schedule", exploration_schedule, to=1)
        )
        self.action_noise = exploration.get(action_noise)
        self.reward_scale = check_positive("reward_scale", reward_scale)
        self.exploration_rate = self.exploration_initial_eps
        self._make_noises(1)
        self._metrics: list[tuple[int, Any]] = []  # numbers of updates and their mean metrics
        super().__init__(policy, env, **common)

    def _set_up(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        super()._set_up(observation_space, action_space)
        self.replay_buffer = ReplayBuffer(self.buffer_size, self.layout, self._replay_rng)
        self._weights_changed()

    def _check_n_envs(self, n_envs: int) -> None:
        if n_envs > 1 and self._train_frequency()[1] == "episode":
            raise ValueError(
                f"train_freq={self.train_freq} counts episodes, which needs one environment, but env has {n_envs}: "
                f'count steps, for example train_freq=(1, "step")'
            )

    def _begin_noise(self) -> None:
        """Readies one noise for each environment, from the start where an episode starts."""
        assert self._environment is not None
        if len(self._noises) != self.n_envs:
            self._make_noises(self.n_envs)
        for noise, length in zip(self._noises, self._environment.episode_lengths, strict=True):
            if length == 0:
                noise.reset()

    def _make_noises(self, n: int) -> None:
        """Makes n noises; the first is the setting itself."""
        self._noises = [self.action_noise, *(copy.deepcopy(self.action_noise) for _ in range(n - 1))]

    # ---------------------------------------------------------------- acting

    @abstractmethod
    def _greedy(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the best known actions (k [n], x [n, P]) for scaled observations [n, D]."""

    def _choose(self, observations: np.ndarray, deterministic: bool) -> tuple[np.ndarray, np.ndarray]:
        k, x = self._greedy(observations)
        if deterministic:
            return k, x
        noises = [self.action_noise] * len(k)
        if not self.action_noise.replaces:  # whoever asks for an action must not move the training's noise
            noises = [copy.deepcopy(noise) for noise in noises]
            for noise in noises:
                noise.reset()
        return self._explore(k, x, self.exploration_rate, noises, self._predict_rng)

    def _explore(
        self,
        k: np.ndarray,
        x: np.ndarray,
        epsilon: float,
        noises: Sequence[exploration.ParameterNoise],
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns greedy actions (k [n], x [n, P]) made ε-greedy and noisy, their parameters within [−1, 1]."""
        random = rng.random(len(k)) < epsilon
        if random.any():
            k = k.copy()
            k[random] = rng.integers(self.actions.n, size=np.count_nonzero(random))
        x = np.array(x, dtype=np.float64)
        for i, noise in enumerate(noises):
            if not noise.replaces:
                x[i] += self.actions.mask[k[i]] * noise.sample(rng, x.shape[1])
            elif random[i]:
                x[i] = noise.sample(rng, x.shape[1])
        return k, np.minimum(np.maximum(x, -1.0), 1.0)

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
            tb_log_name: Name of the run in `tensorboard_log`; default: the agent's class.
            reset_num_timesteps: Start counting (and ε) anew; False continues the previous run.
            progress_bar: Show a progress bar with the mean return and steps per second.

        Returns:
            The agent.

        Raises:
            RuntimeError: The agent has no environment.
            ValueError: The environment returned something that is not finite. The agent can still be saved.
        """
        training = self._training(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )
        with contextlib.closing(training) as rounds:
            for gradient_steps in rounds:
                self._train(gradient_steps)
        return self

    def _training(
        self,
        total_timesteps: int,
        callback: Any,
        log_interval: int | None,
        tb_log_name: str | None,
        reset_num_timesteps: bool,
        progress_bar: bool,
    ) -> Generator[int, None, None]:
        """Does all of `learn` but the updates: yields their number where it is time for them.

        Those after the steps of one environment come before its next step. Those of several environments come when the
        next step is under way, for it may be so in other processes; and in this order in any case, so that it makes no
        difference to the numbers where environments run.
        """
        log_interval = None if log_interval is None else check_integer("log_interval", log_interval, 1)
        total_timesteps, callback = self._set_up_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name or type(self).__name__, progress_bar
        )
        self._begin_noise()
        env = self.env  # Stable-Baselines3's callbacks find it in locals
        callback.on_training_start(locals(), globals())
        try:
            going_on, due = True, None
            while going_on and self.num_timesteps < total_timesteps:
                before = self.num_timesteps
                going_on = yield from self._collect(callback, log_interval, due)
                due = None
                if going_on and self.num_timesteps > self.learning_starts:
                    due = self.num_timesteps - before if self.gradient_steps == -1 else self.gradient_steps
                if due is not None and self.n_envs == 1:
                    yield due
                    due = None
            if due is not None:
                yield due
        finally:
            callback.on_training_end()

    def _train_frequency(self) -> tuple[int, str]:
        """`train_freq` as a number and its unit."""
        return self.train_freq if isinstance(self.train_freq, tuple) else (self.train_freq, "step")

    def _collect(
        self, callback: callbacks.BaseCallback, log_interval: int | None, due: int | None
    ) -> Generator[int, None, bool]:
        """Makes `train_freq` steps or episodes and stores them; returns False if a callback says stop.

        Yields the number of updates that are due, if any, once the first step is under way: environments in other
        processes make it while the learner makes the updates.
        """
        environment = self._environment
        assert environment is not None
        frequency, unit = self._train_frequency()
        num_collected_steps = num_collected_episodes = 0
        callback.on_rollout_start()
        while (num_collected_steps if unit == "step" else num_collected_episodes) < frequency:
            k, x = self._start_step(environment)
            if due is not None:
                yield due
                due = None
            step = self._finish_step(environment, k, x)
            num_collected_steps += 1
            ended = step.ended.nonzero()[0].tolist()
            num_collected_episodes += len(ended)
            log = self._end_episodes(step, ended, log_interval)
            new_obs = environment.reset_ended(self.num_timesteps)
            callback.update_locals(
                {
                    "new_obs": step.raw_observations if new_obs is None else new_obs,
                    "actions": step.actions,
                    "rewards": step.rewards,
                    "dones": step.ended,
                    "infos": step.infos,
                    "num_collected_steps": num_collected_steps,
                    "num_collected_episodes": num_collected_episodes,
                }
            )
            if not callback.on_step():
                return False
            if log:
                self.dump_logs()
        callback.on_rollout_end()
        return True

    def _start_step(self, environment: CanonicalEnvironments) -> tuple[np.ndarray, np.ndarray]:
        """Acts once in every environment; returns the actions."""
        observations = environment.observations
        assert observations is not None
        self.exploration_rate = self._epsilon()
        epsilon = 1.0 if self.num_timesteps < self.learning_starts else self.exploration_rate
        for noise in self._noises:
            noise.progress_remaining = self._current_progress_remaining
        k, x = self._explore(*self._greedy(observations), epsilon, self._noises, self._explore_rng)
        environment.start_step(k, x)
        return k, x

    def _finish_step(self, environment: CanonicalEnvironments, k: np.ndarray, x: np.ndarray) -> Step:
        """Stores what followed the actions."""
        step = environment.finish_step(self.num_timesteps + 1)
        transitions = Batch(step.before, k, x, step.stored_rewards * self.reward_scale, step.after, step.terminated)
        if not step.played.all():
            transitions = Batch(*(part[step.played] for part in transitions))
            for i in np.flatnonzero(~step.played):  # what was drawn for a step that only reset
                self._noises[i].reset()
        self.replay_buffer.add(transitions)
        self.num_timesteps += len(transitions.k)
        self._update_progress()
        return step

    def _epsilon(self) -> float:
        if self.exploration_schedule is not None:
            remaining = self._current_progress_remaining
            return schedules.current_value("exploration_schedule", self.exploration_schedule, remaining, to=1)
        if self.exploration_episodes is not None:
            done = self._episode_num / self.exploration_episodes
        else:
            done = self.num_timesteps / (self.exploration_fraction * self._total_timesteps)
        return schedules.linear_schedule(self.exploration_initial_eps, self.exploration_final_eps, done)

    def _end_episodes(self, step: Step, ended: Sequence[int], log_interval: int | None) -> bool:
        """Counts the episodes that the step ended; returns whether it is time for a log dump."""
        log = False
        for i in ended:
            self._episode_num += 1
            self._noises[i].reset()
            episode = step.infos[i]["episode"]
            counted = {"r": float(episode["r"]), "l": int(episode["l"])}
            self.ep_info_buffer.append(counted | ({"t": float(episode["t"])} if "t" in episode else {}))
            if "is_success" in step.infos[i]:
                self.ep_success_buffer.append(bool(step.infos[i]["is_success"]))
            log = log or (log_interval is not None and self._episode_num % log_interval == 0)
        return log

    def _train(self, gradient_steps: int) -> None:
        """Makes updates on samples of the replay buffer: one compiled call, or a few where their number varies."""
        if not gradient_steps:
            return
        rates, most = self._rates(), self._most_updates()
        if most is None:
            metrics = [(gradient_steps, self.learner.train(self._sample(gradient_steps), rates))]
        else:
            sizes = [min(most, gradient_steps - done) for done in range(0, gradient_steps, most)]
            metrics = [(size, self.learner.train(self._sample(size), rates, most)) for size in sizes]
        self._note_updates(metrics)

    def _note_updates(self, metrics: list[tuple[int, Any]]) -> None:
        """Takes note of updates made: numbers of them and their mean metrics."""
        self._metrics = metrics
        self._n_updates += sum(updates for updates, _ in metrics)
        self._weights_changed()

    def _most_updates(self) -> int | None:
        """How many updates one call makes at most, where their number varies from round to round; else None."""
        frequency, unit = self._train_frequency()
        varies = unit == "episode" or (self._environment is not None and self._environment.may_not_play)
        if not varies or self.gradient_steps != -1:
            return None
        most = MOST_NUMBERS // (self.batch_size * self.layout.size)
        return max(min(most, frequency * self.n_envs if unit == "step" else MOST_UPDATES), 1)

    def _sample(self, batches: int) -> np.ndarray:
        rows = self.replay_buffer.sample(batches, self.batch_size)
        normalization = self._environment and self._environment.normalization
        return normalization.normalize(rows, self.layout, self.reward_scale) if normalization else rows

    def _rates(self) -> dict[str, float]:
        """The learning rates now."""
        remaining = self._current_progress_remaining
        return {name: schedules.current_value(name, getattr(self, name), remaining) for name in self.rate_names}

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
        if self._metrics:
            updates, metrics = zip(*self._metrics, strict=True)
            means = np.average([np.asarray(each) for each in metrics], axis=0, weights=updates)
            for name, value in [*zip(self.metric_names, means, strict=True), *self._rates().items()]:
                logger.record(f"train/{name}", float(value))
            logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        logger.dump(step=self.num_timesteps)

    # ---------------------------------------------------------------- files

    def save_replay_buffer(self, path: str | os.PathLike) -> None:
        """Saves the replay buffer; `.npz` is added if the path has no suffix.

        Raises:
            OSError: The file cannot be written.
        """
        self._require_set_up("save_replay_buffer")
        write_bytes(with_suffix(path, ".npz"), npz_bytes(self._replay_state()))

    def load_replay_buffer(self, path: str | os.PathLike, truncate_last_traj: bool = True) -> None:
        """Loads what `save_replay_buffer` wrote.

        Args:
            path: The file; `.npz` may be left out.
            truncate_last_traj: As in Stable-Baselines3, where it concerns hindsight replay only; no effect here.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or was saved for other spaces or another buffer size.
        """
        self._require_set_up("load_replay_buffer")
        file = with_suffix(path, ".npz")
        if not file.is_file():
            raise FileNotFoundError(f"there is no saved replay buffer at {file}")
        try:
            self._restore_replay(read_npz(file.read_bytes(), str(file)))
        except KeyError as error:
            raise SavedFileError(f"{file} is not a saved replay buffer: it lacks {error}") from None

    def _replay_state(self) -> dict[str, np.ndarray]:
        return self.replay_buffer.state()

    def _restore_replay(self, state: dict[str, np.ndarray]) -> None:
        self.replay_buffer.restore(state)
        k = self.replay_buffer.rows[: len(self.replay_buffer), self.layout.k]
        if not np.isin(k, np.arange(self.actions.n)).all():
            raise ValueError(f"replay buffer holds discrete actions that are not in 0..{self.actions.n - 1}")

    def _progress(self) -> dict[str, Any]:
        states = [noise.state for noise in self._noises]
        return {
            "num_timesteps": self.num_timesteps,
            "total_timesteps": self._total_timesteps,
            "episodes": self._episode_num,
            "n_updates": self._n_updates,
            "exploration_rate": self.exploration_rate,
            "noise": [None if state is None else state.tolist() for state in states],
            "ep_info_buffer": list(self.ep_info_buffer),
            "ep_success_buffer": list(self.ep_success_buffer),
            "rng": [rng.bit_generator.state for rng in self._rngs],
        }

    def _restore_progress(self, progress: dict[str, Any]) -> None:
        self.num_timesteps = check_integer("num_timesteps", progress["num_timesteps"], 0)
        self._total_timesteps = check_integer("total_timesteps", progress["total_timesteps"], 0)
        self._episode_num = check_integer("episodes", progress["episodes"], 0)
        self._n_updates = check_integer("n_updates", progress["n_updates"], 0)
        if self._total_timesteps:
            self._update_progress()
        self.exploration_rate = check_range("exploration_rate", progress["exploration_rate"], at_least=0, to=1)
        self._make_noises(len(progress["noise"]))
        for noise, state in zip(self._noises, progress["noise"], strict=True):
            if state is not None and np.shape(state) != (self.actions.parameter_size,):
                raise ValueError(f"noise must be None or {self.actions.parameter_size} numbers, got {state}")
            if state is not None and not np.isfinite(state).all():
                raise ValueError(f"noise must be finite, got {state}")
            noise.state = None if state is None else np.array(state, float)
            noise.progress_remaining = self._current_progress_remaining
        for episode in progress["ep_info_buffer"]:
            self.ep_info_buffer.append({key: check_range(key, value) for key, value in episode.items()})
        self.ep_success_buffer.extend(bool(success) for success in progress["ep_success_buffer"])
        for rng, state in zip(self._rngs, progress["rng"], strict=True):
            rng.bit_generator.state = state


MOST_UPDATES = 64  # in one call, where their number varies: that many batches are copied, whatever the number

MOST_NUMBERS = 1_000_000  # in these batches: images are large


def _read_train_freq(train_freq: Any) -> int | tuple[int, str]:
    """Returns a number of steps, or (number, unit), checked."""
    if not isinstance(train_freq, tuple | list):
        return check_integer("train_freq", train_freq, 1)
    if len(train_freq) != 2:
        raise ValueError(f'train_freq must be a number of steps or (number, "step" or "episode"), got {train_freq!r}')
    number, unit = train_freq[0], getattr(train_freq[1], "value", train_freq[1])  # SB3's unit is an enumeration
    return check_integer("train_freq", number, 1), check_choice("train_freq's unit", unit, ("step", "episode"))
