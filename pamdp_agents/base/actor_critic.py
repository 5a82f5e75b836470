"""What agents share whose parameter actor ascends a critic: settings, networks, and the update.

DDPG's scheme (Lillicrap et al. 2015, arXiv 1509.02971), which Hausknecht & Stone 2016 (arXiv 1511.04143) brought to
parameterised actions, and P-DQN and its relatives follow.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from pamdp_agents import strategies
from pamdp_agents.base.common_settings import NETWORK_ARGUMENTS
from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.base.policy import Networks
from pamdp_agents.base.settings import Kind, choice, mapping, number, optional, schedule, setting
from pamdp_agents.base.td3_settings import COUNTED, TD3Settings
from pamdp_agents.experience.transition import Transition
from pamdp_agents.learning.learner import SEEDS
from pamdp_agents.learning.losses import LOSSES, fractions
from pamdp_agents.learning.optimizers import Adam, adam, clip_by_norm, polyak
from pamdp_agents.learning.train_state import Call, NetworkState, Result, TrainState
from pamdp_agents.networks import features
from pamdp_agents.networks.initializers import anywhere_in_bounds
from pamdp_agents.networks.models import FlatNetwork, NumPyModel
from pamdp_agents.networks.parameter_actor import ParameterActor
from pamdp_agents.networks.policy_kwargs import call_with
from pamdp_agents.schedules import Schedule


class ActorCriticAgent(TD3Settings, OffPolicyAgent):
    """An agent with a critic `"q"` and a deterministic actor `"actor"` that ascends it.

    Further critics are `"q2"`, `"q3"` and so on. They share nothing, and only the least of their values is used, in the
    target. A subclass says what the critics' target and predictions are, and what the actor ascends.
    """

    policy_kwargs: dict[str, Any] | None = setting(
        default=None,
        text="""`net_arch` (hidden units: a list for both networks, or `{"pi": [...], "qf": [...]}`; default [256], and
        [] is a linear network),
        `activation_fn` (a Keras name or function, or `{"name": "leaky_relu", "negative_slope": 0.01}`; default "relu"),
        `q_output_initializer` and `actor_output_initializer` (Keras initialisers, or
        their configurations), `features_extractor` (a Keras model of your own, in place of the policy's, that maps
        observations [n, ...] to features [n, F]; or its configuration), `features_extractor_kwargs` (arguments of the
        policy's own), `normalize_images` (False leaves images as they are; default True), `optimizer_class` (Adam),
        `optimizer_kwargs` (Adam's `betas`, `eps` and `weight_decay`), `layer_norm` (normalise in the hidden layers;
        default False) and `dueling` (values of a state's value and the actions' advantages; default False).""",
        kind=NETWORK_ARGUMENTS,
        kw_only=False,
    )
    strategy: str | dict[str, Any] | Sequence[Any] | strategies.Strategy = setting(
        default="inverting",
        text="How the gradient that reaches the action-parameters is changed; see `pamdp_agents.strategies`.",
        kind=Kind(lambda name, value: strategies.get(value), strategies.serialize),
        change="recompiles",
    )
    actor_learning_rate: float | Schedule = setting(
        default=1e-4,
        text="Adam's step size for the parameter actor, a number or a schedule.",
        kind=schedule(),
        change="input",
    )
    actor_tau: float = setting(
        default=0.001,
        text="Polyak coefficient of the actor's target, in [0, 1].",
        kind=number(at_least=0, to=1),
        change="input",
    )
    max_grad_norm: float | None = setting(
        default=10.0,
        text="Each network's gradient is scaled down to this norm; None: not clipped.",
        kind=optional(number(above=0)),
        change="input",
    )
    loss: Literal["mse", "huber"] = setting(
        default="mse", text='`"mse"` or `"huber"` (threshold 1).', kind=choice(*LOSSES), change="recompiles"
    )
    passthrough: dict[str, Any] | None = setting(
        default=None,
        text="""Fixed linear map from the scaled observation to initial parameters, added to the actor's output and
        never trained: `{"bias": [P], "weight": [P, D]}`.""",
        kind=optional(mapping()),
    )

    gives_priorities: ClassVar[bool] = True
    rate_names: ClassVar[tuple[str, ...]] = ("learning_rate", "actor_learning_rate")
    metric_names: ClassVar[tuple[str, ...]] = (
        "critic_loss",
        "actor_loss",
        "mean_q",
        "mean_td_error",
        "strategy_changed_fraction",
        "parameters_at_bound_fraction",
    )
    actor_metrics: ClassVar[tuple[str, ...]] = (
        "actor_loss",
        "strategy_changed_fraction",
        "parameters_at_bound_fraction",
    )
    """Those of them that only updates of the actor give."""
    why_not_dueling: ClassVar[str | None] = None
    """What the critic lacks for dueling heads, if it does."""

    def change_setting(self, name: str, value: Any) -> None:
        """Gives a setting another value, which acts from the next update on, or the next step.

        Raises:
            AttributeError: It cannot change: the networks, or what else was made with it, are there.
            ValueError: It does not fit the others.
        """
        if self.is_set_up and name == "strategy" and getattr(value, "squashes", False) != self._squashes:
            raise AttributeError(
                f"strategy cannot change to {value!r}, for one of them squashes: its actor ends in tanh, which another "
                "strategy's does not; make a new agent"
            )
        super().change_setting(name, value)

    @abstractmethod
    def make_critic(self, **arguments: Any) -> NumPyModel:
        """Returns the critic, for `net_arch`, `activation_fn`, `output_initializer` and more."""

    @abstractmethod
    def target(self, state: TrainState, batch: Transition, call: Call) -> tf.Tensor:
        """Returns what the critic's prediction shall be, float32 [n]."""

    @abstractmethod
    def predict_value(self, q_weights: tf.Tensor, batch: Transition) -> tf.Tensor:
        """Returns the critic's prediction for the actions taken, float32 [n]."""

    @abstractmethod
    def objective(self, q_weights: tf.Tensor, output: tf.Tensor, batch: Transition, call: Call) -> tf.Tensor:
        """Returns what the actors ascend, float32 [n], given their outputs side by side."""

    def make_actor(self, **arguments: Any) -> ParameterActor:
        """Returns the actor, for the same arguments as `make_critic`."""
        return ParameterActor(
            self.observation_transform.size,
            self.parameterized_space.parameter_size,
            passthrough=self.passthrough,
            squash=self._squashes,
            **arguments,
        )

    def output_mask(self) -> np.ndarray:
        """Returns which of the actors' outputs belong to which of the `taken`, bool [K, outputs]."""
        return self.parameterized_space.mask

    def taken(self, batch: Transition) -> tf.Tensor:
        """Returns which of those that outputs belong to was taken, int32 [n]: the discrete action."""
        return batch.k

    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the critic and the actor that `policy_kwargs` describe."""
        return call_with(self._make_networks, self.policy_kwargs or {})

    @property
    def critic_names(self) -> list[str]:
        """The critics' names among the networks, the first one's first."""
        return numbered("q", self.n_critics)

    @property
    def actor_names(self) -> list[str]:
        """The actors' names among the networks, the first one's first."""
        return ["actor"]

    def outputs(self, networks: Networks, observations: Any) -> Any:
        """Returns what all actors give, side by side: an array [n, outputs], or a tensor."""
        outputs = [networks[name](observations) for name in self.actor_names]
        if len(outputs) == 1:
            return outputs[0]
        return np.concatenate(outputs, 1) if isinstance(outputs[0], np.ndarray) else tf.concat(outputs, 1)

    def allowed_outputs(self, outputs: tf.Tensor, masks: tf.Tensor | None) -> tf.Tensor:
        """Returns what all actors gave, as it is where discrete actions are not allowed, bool [n, K] (None: all)."""
        return outputs

    def values(self, q: Callable[..., Any], observations: Any, outputs: Any) -> Any:
        """Returns a critic's values of what all actors gave: an array [n, values], or a tensor."""
        return q(observations, outputs)

    @property
    def update_metrics(self) -> tuple[str, ...]:
        """Names of what an update returns for the log: besides the metrics, whether the actor moved, if it may not."""
        return (*self.metric_names, *(["actor_updates"] if self.policy_delay > 1 else []))

    def update(self, state: TrainState, batch: Transition, call: Call) -> Result:
        """Returns the state after a step of the critics towards their target, then one of the actor up the new critic.

        The actor's step, and with it the targets', is left out where it is delayed.
        """
        y = self.target(state, batch, call)
        networks, of_critics = dict(state.networks), []
        for name in self.critic_names:
            critic = networks[name]
            gradient, *of_critic = self._critic_gradient(critic.weights, batch, y)
            networks[name] = adam(critic, self._clipped(gradient, call), call.inputs["learning_rate"], self._adam)
            of_critics.append(of_critic)
        losses = sum((losses for losses, *_ in of_critics[1:]), of_critics[0][0])
        # The first critic's, for it is the one whose gradient the actor follows and a strategy changes.
        _, td_error, prediction = of_critics[0]

        def move() -> tuple[dict[str, NetworkState], tuple[tf.Tensor, ...]]:
            return self._move_actor(networks, batch, td_error, call)

        if self.policy_delay == 1:
            networks, actor_metrics = move()
        else:
            due, networks = self._count(networks)
            zeros = (tf.zeros_like(td_error),) * len(self.actor_metrics)
            networks, actor_metrics = tf.cond(due, move, lambda: (networks, zeros))
        metrics = {"critic_loss": losses, "mean_q": prediction, "mean_td_error": tf.abs(td_error)}
        metrics |= dict(zip(self.actor_metrics, actor_metrics, strict=True))
        if self.policy_delay > 1:
            metrics["actor_updates"] = tf.fill(tf.shape(td_error), tf.cast(due, tf.float32))
        priorities = tf.abs(td_error) + 1e-6 if self.is_prioritized else None
        return Result(TrainState(networks, state.numbers), metrics, priorities)

    def _move_actor(
        self, networks: dict[str, NetworkState], batch: Transition, td_error: tf.Tensor, call: Call
    ) -> tuple[dict[str, NetworkState], tuple[tf.Tensor, ...]]:
        """Returns the networks after a step of the actor up the first critic and one of all targets; its metrics."""
        weights = {name: networks[name].weights for name in self.actor_names}
        gradients, *metrics = self._actor_gradients(weights, networks["q"].weights, batch, td_error, call)
        moved = {name: polyak(networks[name], call.inputs["tau"]) for name in self.critic_names}
        for name, gradient in gradients.items():
            actor = adam(networks[name], self._clipped(gradient, call), call.inputs["actor_learning_rate"], self._adam)
            moved[name] = polyak(actor, call.inputs["actor_tau"])
        return networks | moved, tuple(metrics)

    def _count(self, networks: dict[str, NetworkState]) -> tuple[tf.Tensor, dict[str, NetworkState]]:
        """Returns whether the actor is due after the critics' update, and the networks; large counts start again.

        Counts that started again are as large to Adam, whose corrections are 1 long before.
        """
        first = self.critic_names[0]
        updates = networks[first].updates
        due = tf.equal(tf.math.floormod(updates, float(self.policy_delay)), 0.0)
        many = float(COUNTED - COUNTED % self.policy_delay)
        updates = tf.where(updates >= 2 * many, updates - many, updates)
        return due, networks | {first: networks[first]._replace(updates=updates)}

    def target_values(self, state: TrainState, batch: Transition, call: Call) -> tf.Tensor:
        """Returns min_i Q′_i(s′, μ′(s′)), float32 [n, values], with noise on μ′(s′) if there is any."""
        output = self.outputs(self._called({name: state.networks[name].target for name in self.actor_names}), batch.s2)
        if self.target_policy_noise:
            seed = tf.add(call.seed, [SEEDS, 0])  # another than that of what else an update draws
            # Philox by name: where TensorFlow chooses, it is Philox too, but takes XLA twenty times as long.
            noise = self.target_policy_noise * tf.random.stateless_normal(output.shape, seed, alg="philox")
            noise = tf.clip_by_value(noise, -self.target_noise_clip, self.target_noise_clip)
            output = tf.clip_by_value(output + noise, -1.0, 1.0)
        output = self.allowed_outputs(output, self.next_masks(batch))
        critics = self._called({name: state.networks[name].target for name in self.critic_names})
        first, *others = (self.values(critic, batch.s2, output) for critic in critics.values())
        return tf.reduce_min([first, *others], 0) if others else first

    def _clipped(self, gradient: tf.Tensor, call: Call) -> tf.Tensor:
        return gradient if self.max_grad_norm is None else clip_by_norm(gradient, call.inputs["max_grad_norm"])

    def _critic_gradient(self, weights: tf.Tensor, batch: Transition, y: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns the gradient of the critic's loss, its losses, TD errors and predictions, each [n]."""
        with tf.GradientTape() as tape:
            tape.watch(weights)
            prediction = self.predict_value(weights, batch)
            td_error = y - prediction
            losses = LOSSES[self.loss](td_error)
            if self.is_prioritized:
                losses *= batch.extras["weight"][:, 0]
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, weights), losses, td_error, prediction

    def _called(self, weights: Mapping[str, tf.Tensor]) -> dict[str, Callable[..., tf.Tensor]]:
        """Returns the networks of these names with these weights, as functions of tensors."""
        return {name: partial(self.networks[name], flat) for name, flat in weights.items()}

    def _actor_gradients(
        self, weights: dict[str, tf.Tensor], q_weights: tf.Tensor, batch: Transition, td_error: tf.Tensor, call: Call
    ) -> tuple[Any, ...]:
        """Returns the gradients of the actors' losses, after the strategy, and what is logged of them, each [n]."""
        with tf.GradientTape() as tape:
            tape.watch(weights)
            output = self.outputs(self._called(weights), batch.s)
        with tf.GradientTape() as output_tape:
            output_tape.watch(output)
            objectives = self.objective(q_weights, output, batch, call)
            objective = tf.reduce_mean(objectives)
        ascent = output_tape.gradient(objective, output, unconnected_gradients="zero")
        # Made here, the bounds are constants of the compiled update and not its arguments, which cost time.
        high, mask = tf.ones(output.shape[1]), tf.constant(self.output_mask())
        context = strategies.StrategyContext(output, -high, high, td_error, self.taken(batch), mask)
        changed = strategies.get(self.strategy)(ascent, context)
        if changed.shape != ascent.shape:
            raise ValueError(f"strategy must return a gradient of shape {ascent.shape}, it returned {changed.shape}")
        gradients = tape.gradient(output, weights, -changed, unconnected_gradients="zero")
        return gradients, -objectives, fractions(changed != ascent), fractions(tf.abs(output) >= 1.0)

    def metric_means(self, means: Mapping[str, float]) -> dict[str, float]:
        """Returns the metrics' means to be logged: the actor's over the updates in which it moved, if there are any."""
        logged = super().metric_means(means)
        if (moved := logged.pop("actor_updates", 1.0)) < 1.0:
            for name in self.actor_metrics:
                value = logged.pop(name)
                logged |= {name: value / moved} if moved else {}
        return logged

    def _note_metrics(self, metrics: list[tuple[int, Any]]) -> None:
        """Takes note of what a round's updates gave, and of so many before it that the actor has moved in one."""
        if self.policy_delay > 1:
            noted = sum(updates for updates, _ in metrics)
            for updates, means in reversed(self._metrics):
                if noted >= self.policy_delay:
                    break
                metrics, noted = [(updates, means), *metrics], noted + updates
        super()._note_metrics(metrics)

    @property
    def _adam(self) -> Adam:
        return Adam(**(self.policy_kwargs or {}).get("optimizer_kwargs", {}))

    @property
    def _squashes(self) -> bool:
        return getattr(self.strategy, "squashes", False)

    def _make_networks(
        self,
        net_arch: Sequence[int] | dict[str, Sequence[int]] = (256,),
        activation_fn: str | Callable = "relu",
        q_output_initializer: Any = None,
        actor_output_initializer: Any = None,
        features_extractor: Any = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: str = "Adam",
        optimizer_kwargs: dict[str, Any] | None = None,
        layer_norm: bool = False,
        dueling: bool = False,
    ) -> dict[str, FlatNetwork]:
        arch = net_arch if isinstance(net_arch, dict) else {"pi": net_arch, "qf": net_arch}
        if layer_norm and not any(map(len, arch.values())):
            raise ValueError(f"layer_norm=True normalises in hidden layers, and there are none: net_arch={net_arch!r}")
        if dueling and self.why_not_dueling:
            raise ValueError(f"dueling=True is not for {type(self).__name__}: {self.why_not_dueling}")
        make_extractor = features.make(
            features_extractor,
            self.policy,
            self.observation_transform,
            features_extractor_kwargs,
            normalize_images,
        )

        def make(which: Callable, own_arch: Sequence[int], output_initializer: Any, **own: Any) -> FlatNetwork:
            own |= {"net_arch": own_arch, "activation_fn": activation_fn, "output_initializer": output_initializer}
            own |= {"layer_norm": True} if layer_norm else {}  # so that networks without any need not know of it
            return FlatNetwork(which(**own, features_extractor=make_extractor()))

        first, *others = self.actor_names
        actors = {first: make(self.make_actor, arch["pi"], actor_output_initializer)}
        own = {"dueling": True} if dueling else {}
        critics = {name: make(self.make_critic, arch["qf"], q_output_initializer, **own) for name in self.critic_names}
        if self.n_critics > 1 and np.array_equal(critics["q"].initial(), critics["q2"].initial()):
            raise ValueError(
                f"n_critics={self.n_critics} critics must not start alike, for they would stay alike: "
                f"q_output_initializer {q_output_initializer!r} must be random, and without a seed"
            )
        for name in others:  # start elsewhere, for those that start alike climb to the same place
            actors[name] = make(
                self.make_actor, arch["pi"], actor_output_initializer, bias_initializer=anywhere_in_bounds()
            )
        return critics | actors


def numbered(name: str, n: int) -> list[str]:
    """Returns the names of n networks of one kind: the first has the name itself."""
    return [name, *(f"{name}{i}" for i in range(2, n + 1))]
