"""What agents share whose parameter actor ascends a critic: settings, networks, and the update.

DDPG's scheme (Lillicrap et al. 2015, arXiv 1509.02971), which Hausknecht & Stone 2016 (arXiv 1511.04143) brought to
parameterised actions, and P-DQN and its relatives follow.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from pamdp_agents import strategies
from pamdp_agents.base.common_settings import NETWORK_ARGUMENTS
from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.base.settings import Kind, choice, mapping, number, optional, schedule, setting
from pamdp_agents.experience.transition import Transition
from pamdp_agents.learning.losses import LOSSES, fractions
from pamdp_agents.learning.optimizers import Adam, adam, clip_by_norm, polyak
from pamdp_agents.learning.train_state import Call, Result, TrainState
from pamdp_agents.networks import features
from pamdp_agents.networks.models import FlatNetwork, NumPyModel
from pamdp_agents.networks.parameter_actor import ParameterActor
from pamdp_agents.schedules import Schedule


class ActorCriticAgent(OffPolicyAgent):
    """An agent with a critic `"q"` and a deterministic actor `"actor"` that ascends it.

    A subclass says what the critic's target and prediction are, and what the actor ascends.
    """

    policy_kwargs: dict[str, Any] | None = setting(
        default=None,
        text="""`net_arch` (hidden units: a list for both networks, or `{"pi": [...], "qf": [...]}`; default [256], and
        [] is a linear network),
        `activation_fn` (a Keras name or function, or `{"name": "leaky_relu", "negative_slope": 0.01}`; default "relu"),
        `q_output_initializer` and `actor_output_initializer` (Keras initialisers, or
        their configurations), `features_extractor` (a Keras model of your own, in place of the policy's, that maps
        observations [n, ...] to features [n, F]; or its configuration), `features_extractor_kwargs` (arguments of the
        policy's own), `normalize_images` (False leaves images as they are; default True), `optimizer_class` (Adam) and
        `optimizer_kwargs` (Adam's `betas`, `eps` and `weight_decay`).""",
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

    rate_names: ClassVar[tuple[str, ...]] = ("learning_rate", "actor_learning_rate")
    metric_names: ClassVar[tuple[str, ...]] = (
        "critic_loss",
        "actor_loss",
        "mean_q",
        "mean_td_error",
        "strategy_changed_fraction",
        "parameters_at_bound_fraction",
    )

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
        """Returns the critic, for `net_arch`, `activation_fn`, `output_initializer` and `features_extractor`."""

    @abstractmethod
    def target(self, state: TrainState, batch: Transition, call: Call) -> tf.Tensor:
        """Returns what the critic's prediction shall be, float32 [n]."""

    @abstractmethod
    def predict_value(self, q_weights: tf.Tensor, batch: Transition) -> tf.Tensor:
        """Returns the critic's prediction for the actions taken, float32 [n]."""

    @abstractmethod
    def objective(self, q_weights: tf.Tensor, output: tf.Tensor, batch: Transition, call: Call) -> tf.Tensor:
        """Returns what the actor ascends, float32 [n], given its output."""

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
        """Returns which of the actor's outputs belong to which discrete action, bool [K, outputs]."""
        return self.parameterized_space.mask

    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the critic and the actor that `policy_kwargs` describe."""
        given, accepted = self.policy_kwargs or {}, inspect.signature(self._make_networks).parameters
        if unknown := sorted(given.keys() - accepted.keys()):
            raise ValueError(f"policy_kwargs {given} must be among {list(accepted)}: {unknown} are not")
        return self._make_networks(**given)

    def update(self, state: TrainState, batch: Transition, call: Call) -> Result:
        """Returns the state after a step of the critic towards its target, then one of the actor up the new critic."""
        q, actor = state.networks["q"], state.networks["actor"]
        gradient, critic_losses, td_error, prediction = self._critic_gradient(
            q.weights, batch, self.target(state, batch, call)
        )
        settings = Adam(**(self.policy_kwargs or {}).get("optimizer_kwargs", {}))
        q = adam(q, self._clipped(gradient, call), call.inputs["learning_rate"], settings)
        gradient, actor_losses, changed, at_bound = self._actor_gradient(
            actor.weights, q.weights, batch, td_error, call
        )
        actor = adam(actor, self._clipped(gradient, call), call.inputs["actor_learning_rate"], settings)
        networks = {"q": polyak(q, call.inputs["tau"]), "actor": polyak(actor, call.inputs["actor_tau"])}
        metrics = (critic_losses, actor_losses, prediction, tf.abs(td_error), changed, at_bound)
        return Result(TrainState(networks, state.numbers), dict(zip(self.metric_names, metrics, strict=True)))

    def _clipped(self, gradient: tf.Tensor, call: Call) -> tf.Tensor:
        return gradient if self.max_grad_norm is None else clip_by_norm(gradient, call.inputs["max_grad_norm"])

    def _critic_gradient(self, weights: tf.Tensor, batch: Transition, y: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns the gradient of the critic's loss, its losses, TD errors and predictions, each [n]."""
        with tf.GradientTape() as tape:
            tape.watch(weights)
            prediction = self.predict_value(weights, batch)
            td_error = y - prediction
            losses = LOSSES[self.loss](td_error)
            loss = tf.reduce_mean(losses)
        return tape.gradient(loss, weights), losses, td_error, prediction

    def _actor_gradient(
        self, weights: tf.Tensor, q_weights: tf.Tensor, batch: Transition, td_error: tf.Tensor, call: Call
    ) -> tuple[tf.Tensor, ...]:
        """Returns the gradient of the actor's loss, after the strategy, and what is logged of it, each [n]."""
        with tf.GradientTape() as tape:
            tape.watch(weights)
            output = self.networks["actor"](weights, batch.s)
        with tf.GradientTape() as output_tape:
            output_tape.watch(output)
            objectives = self.objective(q_weights, output, batch, call)
            objective = tf.reduce_mean(objectives)
        ascent = output_tape.gradient(objective, output, unconnected_gradients="zero")
        # Made here, the bounds are constants of the compiled update and not its arguments, which cost time.
        high, mask = tf.ones(output.shape[1]), tf.constant(self.output_mask())
        context = strategies.StrategyContext(output, -high, high, td_error, batch.k, mask)
        changed = strategies.get(self.strategy)(ascent, context)
        if changed.shape != ascent.shape:
            raise ValueError(f"strategy must return a gradient of shape {ascent.shape}, it returned {changed.shape}")
        gradient = tape.gradient(output, weights, -changed, unconnected_gradients="zero")
        return gradient, -objectives, fractions(changed != ascent), fractions(tf.abs(output) >= 1.0)

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
    ) -> dict[str, FlatNetwork]:
        arch = net_arch if isinstance(net_arch, dict) else {"pi": net_arch, "qf": net_arch}
        make_extractor = features.make(
            features_extractor,
            self.policy,
            self.observation_transform,
            features_extractor_kwargs,
            normalize_images,
        )

        def make(which: Callable[..., Any], own_arch: Sequence[int], output_initializer: Any) -> FlatNetwork:
            arguments = {"net_arch": own_arch, "activation_fn": activation_fn, "output_initializer": output_initializer}
            return FlatNetwork(which(**arguments, features_extractor=make_extractor()))

        actor = make(self.make_actor, arch["pi"], actor_output_initializer)
        return {"q": make(self.make_critic, arch["qf"], q_output_initializer), "actor": actor}
