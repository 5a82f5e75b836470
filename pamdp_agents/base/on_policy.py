"""What agents share that learn from rollouts of their present policy: acting, collecting, advantages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import tensorflow as tf

from pamdp_agents.base.learning_agent import LearningAgent
from pamdp_agents.base.policy import GreedyPolicy, Networks
from pamdp_agents.base.rollout_settings import RolloutSettings
from pamdp_agents.checks import warn_user
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.environments.canonical import Step
from pamdp_agents.experience.rollout import RolloutBuffer
from pamdp_agents.experience.transition import Decision
from pamdp_agents.learning.distributions import HybridDistribution
from pamdp_agents.learning.flat import FlatLayout
from pamdp_agents.learning.learner import Learner
from pamdp_agents.learning.train_state import Call, Result, TrainState, UpdateRule
from pamdp_agents.logger import Logger
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.spaces import ParameterizedActionSpace
from pamdp_agents.spaces.observed_ranges import ENOUGH, MOST
from pamdp_agents.training.trainee import Round


class Rollout(NamedTuple):
    """What an update learns from, within the compiled call.

    Attributes:
        rows: The steps of all environments, packed, float32 [rows, layout.size].
        orders: In which order each epoch goes through them, int32 [epochs, rows]: first those that were played.
        n_played: How many were, int32.
    """

    rows: tf.Tensor
    orders: tf.Tensor
    n_played: tf.Tensor


class OnPolicyAgent(LearningAgent, RolloutSettings):
    """An agent that draws its actions from a distribution, and learns from rollouts of the present one.

    A subclass says what its networks, its distribution and its update are. An update is all that is learned from a
    rollout, in one compiled call; `n_updates` counts the epochs in it, as in Stable-Baselines3.

    Attributes:
        networks: Its networks, by name.
        distribution: The distribution of its actions, given the output of the network `"policy"`.
        rollout_buffer: The rollout under way.
    """

    heeds_masks = True
    stores_as_collected = True
    decides_ahead = False
    logs_rounds = True
    rate_names: ClassVar[tuple[str, ...]] = ("learning_rate",)

    def begin(self) -> None:
        """Readies what a constructor readies besides settings."""
        self.networks: dict[str, FlatNetwork]
        self.distribution: HybridDistribution
        self.rollout_buffer: RolloutBuffer
        self._metrics: np.ndarray | None = None
        self._recorded: np.ndarray | None = None
        super().begin()

    @abstractmethod
    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the algorithm's networks by name; `"policy"` gives the distribution's rows."""

    @abstractmethod
    def make_distribution(self) -> HybridDistribution:
        """Returns the distribution of the actions."""

    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """Returns the names of the metrics that an update gives: those that are logged, and the epochs begun."""

    @abstractmethod
    def update(self, state: TrainState, rollout: Rollout, call: Call) -> Result:
        """Returns the state after learning from a rollout, a pure function; each metric is one number, [1]."""

    def build(self) -> None:
        """Makes the distribution, the networks, the learner, what acts, and the rollout buffer."""
        n_observations = self.observation_transform.size
        self.distribution = self.make_distribution()
        self.networks = self.make_networks()
        sizes = {
            "s": (n_observations,),
            "k": (len(self.distribution.options),),
            "x": (self.canonical_actions.parameter_size,),
            "output": (self.distribution.row.size,),
        }
        self.row = FlatLayout(sizes | dict.fromkeys(RolloutBuffer.FOLLOWING, ()))
        rule = UpdateRule(self.update, self._read, self.row.size + self.n_epochs, self.metrics(), self._inputs)
        self.learner = Learner(self.networks, {"update": rule}, device=self._tf_device)
        self.acting = GreedyPolicy(self.act, self.networks, self.learner, n_observations)
        self.rollout_buffer = RolloutBuffer(self.n_steps, self.n_envs, self.row)

    def set_env(self, env: Environment | str, force_reset: bool = True) -> None:
        """Gives the agent another environment with the same spaces; see `EnvironmentBound.set_env`.

        The rollout under way is given up if the number of environments is another one.
        """
        super().set_env(env, force_reset)
        if self.rollout_buffer.n_envs != self.n_envs:
            self.rollout_buffer = RolloutBuffer(self.n_steps, self.n_envs, self.row)
            self.progress.forget_round()

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Trains the agent; see `Agent.learn`. Here `log_interval` counts rollouts, not episodes.

        Training makes whole rollouts of `n_steps` steps in each environment. One that was interrupted, also by a file,
        is gone on with, unless its environments are reset: then it begins anew.
        """
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)

    def act(self, networks: Networks, observations: Any, masks: Any = None) -> Decision:
        """Returns the most probable allowed discrete actions and mean numbers for scaled observations [n, D]."""
        output = networks["policy"](observations)
        if masks is not None:
            output = self.distribution.forbid(output, masks)
        k, x = self.distribution.best(output)
        return self._decision(k, x, output)

    def explore_apart(self, observations: np.ndarray, masks: np.ndarray | None) -> Decision:
        """Returns actions drawn from the policy, for scaled observations [n, D], without any effect on training."""
        return self._draw(observations, masks, self._predict_rng)

    def _draw(self, observations: np.ndarray, masks: np.ndarray | None, rng: np.random.Generator) -> Decision:
        output = self.acting.decide(observations, masks).extras["output"]
        k, x = self.distribution.sample(output, rng)
        return self._decision(k, x, output)

    def _decision(self, k: Any, x: Any, output: Any) -> Decision:
        is_parameterized = isinstance(self.canonical_actions, ParameterizedActionSpace)
        return Decision(k[:, 0] if is_parameterized else k, x, {"output": output})

    def values(self, observations: np.ndarray) -> np.ndarray:
        """Returns the value of scaled observations, float32 [n, D]: [n]."""
        return self.distribution.value(self.acting.decide(observations).extras["output"])

    def begin_with_masks(self) -> None:
        """Expects masks from now on, which the update has to know of."""
        super().begin_with_masks()
        self.learner.forget_compiled()

    def own_locals(self) -> dict[str, Any]:
        """Returns what callbacks find in their `locals` besides what `learn` was given."""
        return {"rollout_buffer": self.rollout_buffer, "n_rollout_steps": self.n_steps}

    # What training asks of an agent, see `Trainee`.

    @property
    def round(self) -> Round:
        """How much is collected between two updates: `n_steps` steps of all environments."""
        return Round(self.n_steps, "step")

    def start_training(self) -> None:
        """Gives up the rollout under way if the environments are no longer where it stopped."""
        self.take_masks()
        if not self.environments.continued and self.progress.due is None:
            self.progress.forget_round()

    def decide(self) -> Decision:
        """Draws what is done next in every environment."""
        observations = self.environments.observations
        assert observations is not None
        return self._draw(observations, self.environments.action_masks, self._explore_rng)

    def observe(self, decision: Decision, step: Step) -> int:
        """Stores what followed a decision; returns the number of environment steps that it was."""
        buffer, rewards = self.rollout_buffer, step.rewards
        if self.progress.round_steps == 0:
            buffer.reset()
        if step.ended_in:
            cut_off = (step.ended & ~step.terminated).nonzero()[0]
            if len(cut_off):
                rewards = rewards.copy()
                rewards[cut_off] += self.gamma * self.values(step.after[cut_off])
        k, x, extras = decision
        buffer.store(
            s=step.before,
            k=k.reshape(len(x), -1),
            x=x,
            output=extras["output"],
            reward=rewards,
            ended=step.ended,
            played=step.played,
        )
        if buffer.full:
            values = self.distribution.value(buffer.part("output").reshape(-1, self.distribution.row.size))
            last_values = self.values(step.after)
            buffer.finish(values.reshape(self.n_steps, -1), last_values, self.gamma, self.gae_lambda)
        return int(np.count_nonzero(step.played))

    def count_updates_due(self, steps: int) -> int | None:
        """Returns how many epochs are due after a round; None: its rollout was given up."""
        return self.n_epochs if self.rollout_buffer.full else None

    def count_updates_in_a_round(self) -> int | None:
        """Returns how many epochs each round has."""
        return self.n_epochs

    def rows_shape(self, updates: int) -> tuple[int, int, int]:
        """Returns the shape of what `sample` returns: a rollout's rows, each with its place in the epochs."""
        return 1, self.n_steps * self.n_envs, self.row.size + updates

    def sample(self, updates: int) -> np.ndarray:
        """Returns the rollout and the order of its rows in so many epochs, float32 of the shape `rows_shape`."""
        orders = self.rollout_buffer.draw_orders(updates, self._replay_rng)
        return self.rollout_buffer.packed(orders)[None]

    def train(self, updates: int) -> None:
        """Learns from the rollout in so many epochs, in one compiled call.

        Raises:
            DivergedError: It gave numbers that are not finite.
        """
        if updates:
            metrics, _ = self.learner.train(self.sample(updates), self.current_inputs(), self.current_seed())
            self.note_updates(updates, metrics)

    def note_updates(self, updates: int, metrics: Any, priorities: Any = None) -> None:
        """Takes note of a rollout learned from: its epochs, and what they gave."""
        metrics = np.array(metrics)
        made = int(metrics[-1])
        self.progress.count_updates(updates, made)
        self.forget_weights()
        if made < updates and self.verbose:
            print(f"stopped after {made} of {updates} epochs, for the policy has changed by more than target_kl")
        rows = self.rollout_buffer.rows.reshape(-1, self.row.size)[:, self.row.places["s"]]
        if not self.saw_observations and len(rows) >= ENOUGH:
            self.look_at_observations(rows[:MOST])
        self._metrics = metrics
        self.tell_logger()

    def record_own(self, logger: Logger) -> None:
        """Records what the last update gave, and its rates."""
        self._recorded = None
        self.record_news(logger)

    def record_news(self, logger: Logger) -> None:
        """Records what the last update gave, and its rates, unless they are recorded."""
        if self._metrics is None or self._recorded is self._metrics:
            return
        self._recorded = self._metrics
        given, inputs = dict(zip(self.metrics()[:-1], self._metrics, strict=False)), self.current_inputs()
        given |= {name: inputs[name] for name in ("learning_rate", "clip_range")}
        if self.clip_range_vf is not None:
            given["clip_range_vf"] = inputs["clip_range_vf"]
        for name, value in given.items():
            logger.record(f"train/{name}", float(value))
        logger.record("train/n_updates", self.progress.n_updates, exclude="tensorboard")

    def _check_n_envs(self, n_envs: int) -> None:
        rows = self.n_steps * n_envs
        if self.normalize_advantage and min(rows, self.batch_size) < 2:
            raise ValueError(
                f"normalize_advantage needs batch_size and n_steps times the number of environments to be at least 2, "
                f"got batch_size={self.batch_size} and n_steps={self.n_steps} in {n_envs} environment(s); "
                "give more, or normalize_advantage=False"
            )
        if rows % self.batch_size and not self.is_set_up:
            warn_user(
                f"batch_size={self.batch_size} does not divide the {rows} transitions of a rollout (n_steps="
                f"{self.n_steps} in {n_envs} environment(s)): the last minibatch of each epoch has "
                f"{rows % self.batch_size}"
            )

    def _read(self, rows: tf.Tensor) -> Rollout:
        size = self.row.size
        played = rows[:, self.row.places["played"].start]
        orders = tf.cast(tf.transpose(rows[:, size:]), tf.int32)
        return Rollout(rows[:, :size], orders, tf.cast(tf.reduce_sum(played), tf.int32))

    def decided_actions(self) -> ParameterizedActionSpace | None:
        """Returns None: what is done next is always drawn from the present policy."""
        return None

    def collected_state(self) -> dict[str, np.ndarray]:
        """Returns the rollout under way, or that which is not yet learned from, as arrays."""
        if not self._steps_kept():
            return {}
        return self.rollout_buffer.state() | {"rollout_n_steps": np.array(self.n_steps)}

    def _steps_kept(self) -> int:
        """Returns how many steps of a rollout are there that are not yet learned from."""
        if self.progress.due is not None:
            return self.n_steps
        return 0 if self.progress.round_timesteps is None else self.progress.round_steps

    def restore_collected(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes back what `collected_state` returned; with another `n_steps`, the rollout is given up.

        Raises:
            ValueError: It is damaged, or another agent's.
        """
        if "rollout_s" not in arrays:
            if self._steps_kept():
                raise ValueError("the rollout under way is missing")
            return
        n_steps = arrays.get("rollout_n_steps", np.zeros(0))
        if n_steps.shape != () or n_steps.dtype.kind != "i":
            raise ValueError(f"rollout_n_steps must be an integer, got {n_steps!r}")
        if n_steps != self.n_steps:
            warn_user(
                f"the file holds part of a rollout of n_steps={n_steps}, which an agent of n_steps={self.n_steps} "
                "cannot go on with: it begins a new one"
            )
            self.progress.forget_round()
            return
        buffer = RolloutBuffer.restored(arrays, self.n_steps, self.row, self.distribution.options)
        if buffer.pos != self._steps_kept():
            raise ValueError(f"the rollout has {buffer.pos} steps, but {self._steps_kept()} were made of it")
        self.rollout_buffer = buffer
