"""What every agent with a replay buffer shares: ε-greedy exploration, and updates on samples of the buffer."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pamdp_agents.base.exploration_settings import ExplorationSettings
from pamdp_agents.base.policy import GreedyPolicy, Networks, best
from pamdp_agents.base.replay_settings import as_round, check_n_envs
from pamdp_agents.base.replaying import ReplayingAgent
from pamdp_agents.checks import check_range
from pamdp_agents.environments.canonical import Step
from pamdp_agents.experience.memory import available_memory
from pamdp_agents.experience.ring import select
from pamdp_agents.experience.transition import NEXT_MASK, Decision, Transition
from pamdp_agents.exploration.epsilon_greedy import EpsilonGreedy
from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.train_state import Call, Result, TrainState, UpdateRule
from pamdp_agents.logger import Logger
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.spaces.observed_ranges import ENOUGH, MOST
from pamdp_agents.training.trainee import Round

MOST_UPDATES = 64  # in one call, where their number varies: that many batches are copied, whatever the number
MOST_NUMBERS = 1_000_000  # in these batches: images are large


class OffPolicyAgent(ExplorationSettings, ReplayingAgent):
    """An agent that learns from a replay buffer and explores with ε-greedy actions and parameter noise.

    A subclass says what its networks, its decisions and its update are.

    Attributes:
        networks: Its networks, by name.
        explorer: What is random about its decisions.
        exploration_rate: ε of the last step.
    """

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        self.exploration_rate = self.exploration_initial_eps
        self.acting: GreedyPolicy
        self.networks: dict[str, FlatNetwork]
        self.explorer: EpsilonGreedy
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
        super().change_setting(name, value)

    @abstractmethod
    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the algorithm's networks by name."""

    @abstractmethod
    def act(self, networks: Networks, observations: Any, masks: Any) -> Decision:
        """Returns the best known decisions for scaled observations [n, D]: arrays, or tensors, as they are.

        Args:
            networks: The networks, as functions.
            observations: The observations.
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """

    @abstractmethod
    def update(self, state: TrainState, batch: Transition, call: Call) -> Result:
        """Returns the state after one update, a pure function."""

    heeds_masks = True

    of_parameters: ClassVar[tuple[str, ...]] = ()
    """Those of a decision's extras that say where its parameters are from, see `EpsilonGreedy`."""

    @property
    def update_metrics(self) -> tuple[str, ...]:
        """Names of what an update returns for the log."""
        return self.metric_names

    def metric_means(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the metrics' means to be logged, given those of all that the updates returned."""
        return dict(means)

    def draw(self, rng: np.random.Generator, n: int, masks: np.ndarray | None = None) -> Decision:
        """Draws n random decisions; their parameters are the noise's business and not used.

        Args:
            rng: Draws.
            n: Their number.
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """
        if masks is None:
            return Decision(rng.integers(self.parameterized_space.n, size=n), None, {})
        return Decision(best(rng.random(masks.shape), masks), None, {})

    def build(self) -> None:
        """Makes the networks, the learner, what acts and explores, and the replay buffer."""
        space, n_observations = self.parameterized_space, self.observation_transform.size
        self.networks = self.make_networks()
        self.make_replay_buffer()
        self.learner = Learner(self.networks, {"update": self._update_rule()}, device=self._tf_device)
        self.acting = GreedyPolicy(self.act, self.networks, self.learner, n_observations)
        self.explorer = EpsilonGreedy(space.mask, self.draw, self.of_parameters)
        self.explorer.make_noises(self.noise, 1)

    def _update_rule(self) -> UpdateRule:
        row, prioritized = self.drawn_row, self.is_prioritized
        return UpdateRule(self.update, row.unpack, row.size, self.update_metrics, self._inputs, prioritized)

    def change_row(self) -> None:
        """Makes the replay buffer and the update anew, when how transitions are packed has changed."""
        super().change_row()
        self.learner.rules["update"] = self._update_rule()
        self.learner.forget_compiled()

    def explore_apart(self, observations: np.ndarray, masks: np.ndarray | None) -> Decision:
        """Returns exploring decisions without any effect on training."""
        decide, epsilon, noise = self.acting.decide, self.exploration_rate, self.noise
        return self.explorer.explore_apart(decide, observations, epsilon, noise, self._predict_rng, masks)

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
        """Readies the noise of each environment, and what waits for its returns.

        Raises:
            MemoryError: A round's batches are larger than the memory that is available.
            ValueError: Rewards are normalised when they are sampled, and returns are of several; or the environments
                give action masks, and stored transitions are without them.
        """
        self.take_masks()
        buffer, environments = self.replay_buffer, self.environments
        self._check_batches()
        self._check_vec_normalize(self.get_vec_normalize_env())
        if not len(buffer) and not len(buffer.returns):  # loaded without, so that nothing can be due
            self.progress.forget_round()
        buffer.go_on(environments.stored_observations, environments.episode_lengths)
        self.explorer.begin(self.noise, environments.episode_lengths)

    def decide(self) -> Decision:
        """Returns what is done next in every environment."""
        observations, remaining = self.environments.observations, self.progress.remaining
        assert observations is not None
        self.exploration_rate = self.current_epsilon(self.progress)
        epsilon = 1.0 if self.progress.num_timesteps < self.learning_starts else self.exploration_rate
        noise, rng, masks = self.noise, self._explore_rng, self.environments.action_masks
        return self.explorer.explore(self._decide_greedily, observations, epsilon, noise, remaining, rng, masks)

    def _decide_greedily(self, observations: np.ndarray, masks: np.ndarray | None) -> Decision:
        return self.environments.decided or self.acting.decide(observations, masks)

    def observe(self, decision: Decision, step: Step) -> int:
        """Stores what followed a decision; returns the number of environment steps that it was."""
        k, x, extras = decision
        if self.reward_scale > 1.0 or self.n_steps > 1:  # the environments have looked at them as they are
            self.environments.check_rewards(step.stored_rewards, self.reward_scale, self.n_steps)
        rewards, discount = step.stored_rewards * self.reward_scale, 1.0 - step.terminated
        if self.masked:
            masks = np.ones((len(k), self.parameterized_space.n)) if step.next_masks is None else step.next_masks
            extras = {**extras, NEXT_MASK: masks}
        transitions = Transition(step.before, k, x, rewards, step.after, discount, extras)
        envs = None
        if not all(step.played.tolist()):  # faster than NumPy's, for a few
            envs = step.played.nonzero()[0]
            transitions = select(transitions, step.played)
            self.explorer.end_episodes((~step.played).nonzero()[0])  # what was drawn for a step that only reset
        self.explorer.end_episodes(step.ended_in)
        if self.n_steps == 1:
            self.replay_buffer.store(transitions, envs)
        else:
            self.replay_buffer.store_steps(transitions, step.played.nonzero()[0], step.ended[step.played])
        return len(transitions.k)

    def count_updates_due(self, steps: int) -> int | None:
        """Returns how many updates are due after a round of so many environment steps; None: not yet any."""
        if self.progress.num_timesteps <= self.learning_starts or not len(self.replay_buffer):
            return None
        return steps if self.gradient_steps == -1 else self.gradient_steps

    def count_updates_in_a_round(self) -> int | None:
        """Returns how many updates each round makes; None: their number varies."""
        if self.gradient_steps != -1:
            return self.gradient_steps
        varies = self.round.unit == "episode" or (self._environments is not None and self._environments.may_not_play)
        return None if varies else self.round.number * self.n_envs

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
            means, priorities = self.learner.train(self.sample(size), inputs, (base, first), most)
            self._count_updates(size, priorities)
            metrics.append((size, means))
            first += size
        self._note_metrics(metrics)

    def note_updates(self, updates: int, metrics: Any, priorities: Any) -> None:
        """Takes note of updates made elsewhere, on what was sampled last: their number, mean metrics and priorities."""
        self._count_updates(updates, priorities)
        self._note_metrics([(updates, metrics)])

    def _count_updates(self, updates: int, priorities: Any) -> None:
        if priorities is not None:
            self.replay_buffer.note_priorities(np.asarray(memoryview(priorities))[:updates])
        self.progress.count_updates(updates)
        self.forget_weights()

    def _note_metrics(self, metrics: list[tuple[int, Any]]) -> None:
        """Takes note of what a round's updates gave: numbers of them and their mean metrics."""
        if not self.saw_observations and len(self.replay_buffer) >= ENOUGH:
            self.look_at_observations(self.replay_buffer.part("s", MOST))
        self._metrics = metrics
        self.tell_logger()

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
            logged = self.metric_means(dict(zip(self.update_metrics, means, strict=True)))
            for name, value in (logged | {name: inputs[name] for name in self.rate_names}).items():
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
        most = MOST_NUMBERS // (self.batch_size * self.drawn_row.size)
        number, unit = self.round
        return max(min(most, number * self.n_envs if unit == "step" else MOST_UPDATES), 1)

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
