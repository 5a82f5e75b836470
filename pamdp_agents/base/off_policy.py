"""What every agent with a replay buffer shares: ε-greedy exploration, and updates on samples of the buffer."""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from pamdp_agents.base.exploration_settings import ExplorationSettings
from pamdp_agents.base.learning_agent import LearningAgent
from pamdp_agents.base.policy import GreedyPolicy, Networks
from pamdp_agents.base.replay_settings import ReplaySettings, as_round, check_n_envs
from pamdp_agents.base.settings import number, setting
from pamdp_agents.checks import check_range
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import Step
from pamdp_agents.experience.memory import available_memory
from pamdp_agents.experience.replay import ReplayBuffer
from pamdp_agents.experience.ring import select
from pamdp_agents.experience.transition import Decision, Transition, TransitionLayout
from pamdp_agents.exploration.epsilon_greedy import EpsilonGreedy
from pamdp_agents.files.archive import SavedFileError, npz_bytes, read_npz
from pamdp_agents.files.streams import read_content, write_content
from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.train_state import Call, Result, TrainState, UpdateRule
from pamdp_agents.logger import Logger
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.spaces.observed_ranges import ENOUGH, MOST, warn_of_unseen
from pamdp_agents.training.trainee import Round

MOST_UPDATES = 64  # in one call, where their number varies: that many batches are copied, whatever the number
MOST_NUMBERS = 1_000_000  # in these batches: images are large


class OffPolicyAgent(ExplorationSettings, LearningAgent, ReplaySettings):
    """An agent that learns from a replay buffer and explores with ε-greedy actions and parameter noise.

    A subclass says what its networks, its decisions and its update are.

    Attributes:
        networks: Its networks, by name.
        row: How a transition is packed.
        explorer: What is random about its decisions.
        exploration_rate: ε of the last step.
        replay_buffer: The stored transitions.
    """

    saved_apart = ("replay_buffer",)

    reward_scale: float = setting(
        default=1.0,
        text="What rewards are multiplied by before they are stored; another value rescales those that are.",
        kind=number(above=0),
        change="acts",
    )

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        self.exploration_rate = self.exploration_initial_eps
        self.networks: dict[str, FlatNetwork]
        self.row: TransitionLayout
        self.explorer: EpsilonGreedy
        self.replay_buffer: ReplayBuffer
        self._saw_observations = False  # whether they have been looked at, see `note_updates`
        self._metrics: list[tuple[int, Any]] = []  # numbers of updates and their mean metrics
        self._recorded: tuple[int, Any] = (0, self._metrics)  # the step and the metrics last recorded
        super().begin()

    def change_setting(self, name: str, value: Any) -> None:
        """Gives a setting another value, which acts from the next update on, or the next step.

        Raises:
            AttributeError: It cannot change: the networks, or what else was made with it, are there; or agents are
                being trained together, whose updates are one compiled call.
            ValueError: It counts episodes, and there are several environments; or stored rewards do not bear it.
        """
        if self.is_set_up and name == "train_freq":
            check_n_envs(self.n_envs, value)
        if self.is_set_up and name == "reward_scale":
            self.replay_buffer.rescale(value)
        super().change_setting(name, value)

    @abstractmethod
    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the algorithm's networks by name."""

    @abstractmethod
    def act(self, networks: Networks, observations: Any) -> Decision:
        """Returns the best known decisions for scaled observations [n, D]: arrays, or tensors, as they are."""

    @abstractmethod
    def update(self, state: TrainState, batch: Transition, call: Call) -> Result:
        """Returns the state after one update, a pure function."""

    def find_extras(self, k: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the extras of discrete actions that the agent did not decide itself, int [n], by name."""
        return {}

    def draw(self, rng: np.random.Generator, n: int) -> Decision:
        """Draws n random decisions; their parameters are the noise's business and not used."""
        return Decision(rng.integers(self.parameterized_space.n, size=n), None, {})

    def build(self) -> None:
        """Makes the networks, the learner, what acts and explores, and the replay buffer."""
        space, n_observations = self.parameterized_space, self.observation_transform.size
        self.networks = self.make_networks()
        self.row = TransitionLayout(n_observations, space.parameter_size, self.extras())
        rule = UpdateRule(self.update, self.row.unpack, self.row.size, self.metric_names, self._inputs)
        self.learner = Learner(self.networks, {"update": rule}, device=self._tf_device)
        self.acting = GreedyPolicy(self.act, self.networks, self.learner, n_observations)
        self.explorer = EpsilonGreedy(space.mask, self.draw)
        self.explorer.make_noises(self.noise, 1)
        self.replay_buffer = ReplayBuffer(
            self.buffer_size,
            self.row,
            self._replay_rng,
            self.observation_transform,
            space,
            self.reward_scale,
            self.find_extras,
            self._predict_rng,
        )

    def set_env(self, env: Environment | str, force_reset: bool = True) -> None:
        """Gives the agent another environment with the same spaces; see `EnvironmentBound.set_env`."""
        super().set_env(env, force_reset)
        self.replay_buffer.n_envs = self.n_envs

    def explore_apart(self, observations: np.ndarray) -> Decision:
        """Returns exploring decisions for scaled observations, float32 [n, D], without any effect on training."""
        decide, epsilon, noise = self.acting.decide, self.exploration_rate, self.noise
        return self.explorer.explore_apart(decide, observations, epsilon, noise, self._predict_rng)

    def own_locals(self) -> dict[str, Any]:
        """Returns what callbacks find in their `locals` besides what `learn` was given."""
        names = ("replay_buffer", "action_noise", "train_freq", "learning_starts")
        return {name: getattr(self, name) for name in names}

    # What training asks of an agent, see `Trainee`.

    @property
    def round(self) -> Round:
        """How much is collected between two rounds of updates: `train_freq`."""
        return as_round(self.train_freq)

    def unshared(self) -> dict[str, Any]:
        """Returns what has a state and must not be another agent's, by what it is."""
        return super().unshared() | {"action_noise": self.action_noise}

    def start_training(self) -> None:
        """Readies the noise of each environment.

        Raises:
            MemoryError: A round's batches are larger than the memory that is available.
        """
        self._check_batches()
        if not len(self.replay_buffer):  # loaded without, so that nothing can be due
            self.progress.forget_round()
        self.explorer.begin(self.noise, self.environments.episode_lengths)

    def decide(self) -> Decision:
        """Returns what is done next in every environment."""
        observations, remaining = self.environments.observations, self.progress.remaining
        assert observations is not None
        self.exploration_rate = self.current_epsilon(self.progress)
        epsilon = 1.0 if self.progress.num_timesteps < self.learning_starts else self.exploration_rate
        noise, rng = self.noise, self._explore_rng
        return self.explorer.explore(self._decide_greedily, observations, epsilon, noise, remaining, rng)

    def _decide_greedily(self, observations: np.ndarray) -> Decision:
        return self.environments.decided or self.acting.decide(observations)

    def observe(self, decision: Decision, step: Step) -> int:
        """Stores what followed a decision; returns the number of environment steps that it was."""
        k, x, extras = decision
        if self.reward_scale > 1.0:  # the environments have looked at them as they are
            self.environments.check_rewards(step.stored_rewards, self.reward_scale)
        rewards, discount = step.stored_rewards * self.reward_scale, 1.0 - step.terminated
        transitions = Transition(step.before, k, x, rewards, step.after, discount, extras)
        if not all(step.played.tolist()):  # faster than NumPy's, for a few
            transitions = select(transitions, step.played)
            self.explorer.end_episodes((~step.played).nonzero()[0])  # what was drawn for a step that only reset
        self.explorer.end_episodes(step.ended_in)
        self.replay_buffer.store(transitions)
        return len(transitions.k)

    def count_updates_due(self, steps: int) -> int | None:
        """Returns how many updates are due after a round of so many environment steps; None: not yet any."""
        if self.progress.num_timesteps <= self.learning_starts:
            return None
        return steps if self.gradient_steps == -1 else self.gradient_steps

    def count_updates_in_a_round(self) -> int | None:
        """Returns how many updates each round makes; None: their number varies."""
        if self.gradient_steps != -1:
            return self.gradient_steps
        varies = self.round.unit == "episode" or (self._environments is not None and self._environments.may_not_play)
        return None if varies else self.round.number * self.n_envs

    def rows_shape(self, updates: int) -> tuple[int, int, int]:
        """Returns the shape of what `sample` returns."""
        return updates, self.batch_size, self.row.size

    def sample(self, updates: int) -> np.ndarray:
        """Returns the rows of so many updates, float32 [updates, batch size, row size]."""
        rows = self.replay_buffer.draw(updates, self.batch_size)
        normalization = None if self._environments is None else self._environments.normalization
        return normalization.normalize(rows, self.row, self.reward_scale) if normalization else rows

    def train(self, updates: int) -> None:
        """Makes updates on samples of the replay buffer: one compiled call, or a few where their number varies.

        Raises:
            DivergedError: A call gave numbers that are not finite; those before it have been made.
        """
        if not updates:
            return
        inputs, most = self.current_inputs(), self._most_updates()
        sizes = [updates] if most is None else [min(most, updates - done) for done in range(0, updates, most)]
        base, first = self.current_seed()
        metrics = []
        for size in sizes:
            means, _ = self.learner.train(self.sample(size), inputs, (base, first), most)
            self._count_updates(size)
            metrics.append((size, means))
            first += size
        self._note_metrics(metrics)

    def note_updates(self, updates: int, metrics: Any) -> None:
        """Takes note of updates made elsewhere: their number and mean metrics."""
        self._count_updates(updates)
        self._note_metrics([(updates, metrics)])

    def _count_updates(self, updates: int) -> None:
        self.progress.count_updates(updates)
        self.forget_weights()

    def _note_metrics(self, metrics: list[tuple[int, Any]]) -> None:
        """Takes note of what a round's updates gave: numbers of them and their mean metrics."""
        if not self._saw_observations and len(self.replay_buffer) >= ENOUGH:
            self._saw_observations = True
            stored = self.replay_buffer.rows[: min(len(self.replay_buffer), MOST), self.row.places["s"]]
            warn_of_unseen(self.observation_transform, stored)
        self._metrics = metrics
        if not isinstance(self.logger, Logger):  # another library's, which does not ask when it is read
            self.record_news(self.logger)

    def record_own(self, logger: Logger) -> None:
        """Records ε, the update's mean metrics and the learning rates."""
        self._recorded = (-1, None)
        self.record_news(logger)

    def record_news(self, logger: Logger) -> None:
        """Records ε and what the last updates gave, as far as they are new since they were last recorded."""
        (step, last), self._recorded = self._recorded, (self.progress.num_timesteps, self._metrics)
        if step != self.progress.num_timesteps:
            logger.record("rollout/exploration_rate", self.exploration_rate)
        if self._metrics and last is not self._metrics:
            updates, metrics = zip(*self._metrics, strict=True)
            means = np.average([np.asarray(each) for each in metrics], axis=0, weights=updates)
            inputs = self.current_inputs()
            rates = [(name, inputs[name]) for name in self.rate_names]
            for name, value in [*zip(self.metric_names, means, strict=True), *rates]:
                logger.record(f"train/{name}", float(value))
            logger.record("train/n_updates", self.progress.n_updates, exclude="tensorboard")

    def _check_batches(self) -> None:
        """Raises MemoryError where a round's batches do not fit into memory: the system could end the program."""
        updates = max(self.gradient_steps, 1)  # of -1, as many as there will have been steps
        size, available = 4 * math.prod(self.rows_shape(updates)), available_memory()
        if available is not None and size > available:
            raise MemoryError(
                f"batch_size={self.batch_size} transitions for each of {updates} updates (gradient_steps="
                f"{self.gradient_steps}) take {size / 1e9:,.0f} GB of memory at once, and {available / 1e9:,.0f} GB "
                "are available; choose fewer"
            )

    def _check_n_envs(self, n_envs: int) -> None:
        check_n_envs(n_envs, self.train_freq)

    def _most_updates(self) -> int | None:
        """Returns how many updates one call makes at most, where their number varies from round to round; else None."""
        if self.count_updates_in_a_round() is not None:
            return None
        most = MOST_NUMBERS // (self.batch_size * self.row.size)
        number, unit = self.round
        return max(min(most, number * self.n_envs if unit == "step" else MOST_UPDATES), 1)

    def save_replay_buffer(self, path: str | os.PathLike | IO[bytes]) -> None:
        """Saves the replay buffer.

        Args:
            path: Where to; `.npz` is added if it has no suffix. Or a binary file open for writing.

        Raises:
            OSError: The file cannot be written.
        """
        self._require_set_up("save_replay_buffer")
        write_content(path, npz_bytes(self.replay_state()), ".npz")

    def load_replay_buffer(self, path: str | os.PathLike | IO[bytes], truncate_last_traj: bool = True) -> None:
        """Loads what `save_replay_buffer` wrote.

        What a smaller buffer held goes in whole. Of a larger one's, the newest part does, with a warning.

        Args:
            path: The file; `.npz` may be left out. Or one open for reading in binary mode, which is read from its start
                if it can be moved there.
            truncate_last_traj: As in Stable-Baselines3, where it concerns hindsight replay only; no effect here.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged, or was saved for other spaces or by another agent. The buffer is as it was then.
        """
        self._require_set_up("load_replay_buffer")
        name, content = read_content(path, ".npz", "replay buffer")
        try:
            self.restore_replay(read_npz(content, name))
        except KeyError as error:
            raise SavedFileError(f"{name} is not a saved replay buffer: it lacks {error}") from None

    def replay_state(self) -> dict[str, np.ndarray]:
        """Returns the replay buffer, as arrays."""
        return self.replay_buffer.state()

    def restore_replay(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `replay_state` returned.

        Raises:
            KeyError: A part is missing.
            ValueError: It is another agent's, or damaged.
        """
        self.replay_buffer.restore(state, self.parameterized_space.n)

    def progress_state(self) -> dict[str, Any]:
        """Returns what besides weights is needed to continue training, as JSON can hold it."""
        own = {"exploration_rate": self.exploration_rate, "noise": self.explorer.state()}
        return super().progress_state() | own

    def restore_progress(self, state: dict[str, Any]) -> None:
        """Takes back what `progress_state` returned.

        Raises:
            KeyError, TypeError, ValueError: Something in it is missing or wrong.
        """
        super().restore_progress(state)
        self.exploration_rate = check_range("exploration_rate", state["exploration_rate"], at_least=0, to=1)
        self.explorer.restore(self.noise, state["noise"], self.progress.remaining)
