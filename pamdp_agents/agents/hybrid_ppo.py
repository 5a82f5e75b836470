"""Hybrid PPO: proximal policy optimisation of discrete choices and continuous numbers at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import gymnasium as gym
import tensorflow as tf

from pamdp_agents.base.on_policy import OnPolicyAgent, Rollout
from pamdp_agents.base.rollout_settings import ON_POLICY_NETWORK_ARGUMENTS
from pamdp_agents.base.settings import choice, optional, setting
from pamdp_agents.learning.distributions import Head, HybridDistribution
from pamdp_agents.learning.minibatches import Minibatch, Step, train_in_minibatches
from pamdp_agents.learning.optimizers import Adam, adam, clip_by_norm
from pamdp_agents.learning.train_state import Call, Result, TrainState
from pamdp_agents.networks import features
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.networks.policy_and_value import LOG_STD, PolicyAndValue
from pamdp_agents.networks.policy_kwargs import call_with
from pamdp_agents.spaces import ParameterizedActionSpace
from pamdp_agents.spaces.canonical_actions import CanonicalActions
from pamdp_agents.spaces.independent import IndependentActionSpace
from pamdp_agents.spaces.layout_choice import ActionLayout, read_actions

EPSILON = 1e-5  # Adam's, where no optimizer_kwargs say otherwise: as Stable-Baselines3's on-policy policies have it


class HybridPPO(OnPolicyAgent):
    """Hybrid proximal policy optimisation (H-PPO), also of actions whose parts are independent.

    One network gives the probabilities of all discrete choices, the means of all numbers and the observation's value;
    the standard deviations are weights beside it.

    * Parameterised actions: log π(k, x|s) = log π(k|s) + log π(x_k|s), with the parameters of the taken k alone.
    * Any Tuple or Dict of Discrete, MultiDiscrete, MultiBinary and Box: the sum of the parts' log-probabilities.
    * The loss of a minibatch is −mean(min(ρ·A, clip(ρ, 1 ± clip_range)·A)) − ent_coef·H + vf_coef·mean((R − V)²), where
      ρ = π(a|s)/π_old(a|s), A is the advantage by generalised advantage estimation, and R = A + V_old.
    * With `ratio="separate"`, ρ of the discrete choices and ρ of the numbers are clipped each for itself, and both
      terms are added.

    Raises:
        ValueError: An argument is out of its range; or the action space can be read in more than one way, and
            `action_layout` does not say in which.
        TypeError: The action space holds what there is no distribution for.

    References:
        Fan, Su, Zhang & Yu 2019, "Hybrid Actor-Critic Reinforcement Learning in Parameterized Action Space"
        (arXiv 1903.01344). Schulman et al. 2017, "Proximal Policy Optimization Algorithms" (arXiv 1707.06347).
    """

    policy_kwargs: dict[str, Any] | None = setting(
        default=None,
        text="""`net_arch` (hidden units: a list for both, or `{"pi": [...], "vf": [...]}`; default [64, 64], with
        images []), `activation_fn` (a Keras name or function, or
        `{"name": "leaky_relu", "negative_slope": 0.01}`; default "tanh"), `ortho_init` (orthogonal initial weights;
        default True), `log_std_init` (where the logarithms of the standard deviations start, in scaled units; default
        0), `features_extractor` (a Keras model of your own, in place of the policy's, that maps observations [n, ...]
        to features [n, F]; or its configuration), `features_extractor_kwargs` (arguments of the policy's own),
        `normalize_images` (False leaves images as they are; default True), `optimizer_class` (Adam) and
        `optimizer_kwargs` (Adam's `betas`, `eps` and `weight_decay`; default `{"eps": 1e-5}`).""",
        kind=ON_POLICY_NETWORK_ARGUMENTS,
        kw_only=False,
    )
    ratio: Literal["joint", "separate"] = setting(
        default="joint",
        text="""`"joint"`: the ratio of the whole action's probabilities is clipped; `"separate"`: that of the discrete
        choices and that of the numbers, each for itself (Fan et al. 2019).""",
        kind=choice("joint", "separate"),
        change="recompiles",
    )
    action_layout: ActionLayout | None = setting(
        default=None,
        text="""How the action space is meant: `"parameterized"` (a discrete choice, and parameters of each option),
        `"independent"` (all parts are chosen independently), or None: the first for a Tuple, Dict or OneOf of one
        discrete choice and boxes, the second for all others.""",
        kind=optional(choice("parameterized", "independent")),
    )

    metric_names: ClassVar[tuple[str, ...]] = (
        "entropy_loss",
        "policy_gradient_loss",
        "value_loss",
        "approx_kl",
        "clip_fraction",
        "loss",
        "explained_variance",
        "std",
    )

    def make_actions(self, space: gym.Space) -> CanonicalActions:
        """Returns what converts the actions, in the layout that `action_layout` and the space say."""
        return read_actions(space, self.action_layout)

    def make_distribution(self) -> HybridDistribution:
        """Returns the distribution of the actions: of a parameterised action, or of independent parts."""
        actions = self.canonical_actions
        if isinstance(actions, ParameterizedActionSpace):
            none, size = slice(0, 0), actions.parameter_size
            heads = [Head("action", slice(0, 1), none), Head("parameters", none, slice(0, size))]
            return HybridDistribution([actions.n], size, heads if size else heads[:1], actions.mask)
        assert isinstance(actions, IndependentActionSpace)
        parts = [Head(part.name, part.choices, part.numbers) for part in actions.parts]
        heads = [head for head in parts if head.is_discrete or head.numbers.stop > head.numbers.start]
        return HybridDistribution(actions.options, actions.parameter_size, heads)

    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the network that `policy_kwargs` describe."""
        return call_with(self._make_networks, self.policy_kwargs or {})

    def metrics(self) -> tuple[str, ...]:
        """Returns the names of what an update gives: those of each head, and the epochs begun, come last."""
        heads = [head.name for head in self.distribution.heads]
        own = self.metric_names if self.canonical_actions.parameter_size else self.metric_names[:-1]
        return (
            *own,
            *(f"entropy_of_{name}" for name in heads),
            *(f"log_prob_of_{name}" for name in heads),
            "epochs",
        )

    def update(self, state: TrainState, rollout: Rollout, call: Call) -> Result:
        """Returns the state after all epochs of minibatches, or after those before the policy has moved too far."""
        parts, distribution = self.row.split(rollout.rows), self.distribution
        k = tf.cast(parts["k"], tf.int32)
        old_log_probs = distribution.log_probs(parts["output"], k, parts["x"])
        rows = tf.concat([rollout.rows, old_log_probs], 1)
        n_heads = len(distribution.heads)
        trained = train_in_minibatches(
            state,
            rows,
            rollout.orders,
            rollout.n_played,
            self.batch_size,
            6 + 2 * n_heads,
            lambda state, minibatch: self._step(state, minibatch, call),
        )
        explained = _explained_variance(parts, distribution.value(parts["output"]))
        entropy_loss, policy_loss, value_loss, _, clip_fraction, _ = tf.unstack(trained.mean[:6])
        metrics = [entropy_loss, policy_loss, value_loss, trained.mean_of_last_epoch[3], clip_fraction]
        metrics += [trained.last[5], explained]
        if self.canonical_actions.parameter_size:
            network = self.networks["policy"]
            weights = dict(zip(network.names, network.split(trained.state.networks["policy"].weights), strict=True))
            metrics.append(tf.reduce_mean(tf.exp(weights[LOG_STD])))
        metrics += [*tf.unstack(trained.mean[6:]), trained.epochs]
        return Result(trained.state, dict(zip(self.metrics(), [each[None] for each in metrics], strict=True)))

    def _step(self, state: TrainState, minibatch: Minibatch, call: Call) -> Step:
        """Returns the state after a step down the loss of a minibatch."""
        inputs, network = call.inputs, state.networks["policy"]
        with tf.GradientTape() as tape:
            tape.watch(network.weights)
            loss, metrics = self.loss(network.weights, minibatch, inputs)
        gradient = tape.gradient(loss, network.weights)
        if self.max_grad_norm is not None:
            gradient = clip_by_norm(gradient, inputs["max_grad_norm"])
        settings = Adam(**(self.policy_kwargs or {}).get("optimizer_kwargs", {"epsilon": EPSILON}))
        network = adam(network, gradient, inputs["learning_rate"], settings)
        stop = None if self.target_kl is None else metrics[3] > 1.5 * inputs["target_kl"]
        return Step(TrainState({"policy": network}, state.numbers), metrics, stop)

    def loss(
        self, weights: tf.Tensor, minibatch: Minibatch, inputs: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the loss of a minibatch, and what is logged of it.

        Args:
            weights: The network's weights, float32 [size].
            minibatch: Rows of the rollout, each with the heads' old log-probabilities behind it.
            inputs: The settings that are inputs, by name.
        """
        distribution, mean = self.distribution, minibatch.mean
        parts = self.row.split(minibatch.rows[:, : self.row.size])
        old_log_probs = minibatch.rows[:, self.row.size :]
        output = self.networks["policy"](weights, parts["s"])
        if self.masked:
            output = distribution.forbid(output, distribution.allowed(parts["output"]))
        log_probs = distribution.log_probs(output, tf.cast(parts["k"], tf.int32), parts["x"])
        entropies = distribution.entropies(output)

        advantage = minibatch.normalize(parts["advantage"]) if self.normalize_advantage else parts["advantage"]
        changes = log_probs - old_log_probs
        ratios = tf.exp(tf.stack([tf.add_n([changes[:, i] for i in group]) for group in self._groups()], 1))
        clip_range = inputs["clip_range"]
        clipped = tf.clip_by_value(ratios, 1.0 - clip_range, 1.0 + clip_range)
        surrogates = tf.minimum(ratios * advantage[:, None], clipped * advantage[:, None])
        policy_loss = -mean(tf.reduce_sum(surrogates, 1))

        values, old_values = distribution.value(output), distribution.value(parts["output"])
        if self.clip_range_vf is not None:
            reach = inputs["clip_range_vf"]
            values = old_values + tf.clip_by_value(values - old_values, -reach, reach)
        value_loss = mean(tf.square(parts["return"] - values))
        entropy_loss = -mean(tf.reduce_sum(entropies, 1))
        loss = policy_loss + inputs["ent_coef"] * entropy_loss + inputs["vf_coef"] * value_loss

        change = tf.reduce_sum(changes, 1)
        approx_kl = mean(tf.exp(change) - 1.0 - change)
        clip_fraction = mean(tf.reduce_mean(tf.cast(tf.abs(ratios - 1.0) > clip_range, tf.float32), 1))
        logged = tf.stack([entropy_loss, policy_loss, value_loss, approx_kl, clip_fraction, loss])
        return loss, tf.concat([logged, mean(entropies), mean(log_probs)], 0)

    def _groups(self) -> list[list[int]]:
        """Returns the heads whose ratio is clipped as one, by their numbers."""
        heads = self.distribution.heads
        if self.ratio == "joint":
            return [list(range(len(heads)))]
        discrete = [i for i, head in enumerate(heads) if head.is_discrete]
        continuous = [i for i, head in enumerate(heads) if not head.is_discrete]
        return [group for group in (discrete, continuous) if group]

    def _make_networks(
        self,
        net_arch: Sequence[int] | dict[str, Sequence[int]] | None = None,
        activation_fn: str | Callable = "tanh",
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        features_extractor: Any = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: str = "Adam",
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> dict[str, FlatNetwork]:
        if net_arch is None:
            net_arch = (64, 64) if features.POLICIES[self.policy] is not features.NatureCNN else ()
        arch = net_arch if isinstance(net_arch, dict) else {"pi": net_arch, "vf": net_arch}
        make_extractor = features.make(
            features_extractor, self.policy, self.observation_transform, features_extractor_kwargs, normalize_images
        )
        model = PolicyAndValue(
            self.observation_transform.size,
            sum(self.distribution.options),
            self.canonical_actions.parameter_size,
            arch,
            activation_fn,
            ortho_init,
            log_std_init,
            make_extractor(),
        )
        return {"policy": FlatNetwork(model, has_target=False)}


def _explained_variance(parts: dict[str, tf.Tensor], values: tf.Tensor) -> tf.Tensor:
    """Returns which part of the returns' variance the values explain, at most 1; 0 where there is none."""
    played = Minibatch(parts["s"], parts["played"])

    def variance(of: tf.Tensor) -> tf.Tensor:
        return played.mean(tf.square(of - played.mean(of)))

    whole = variance(parts["return"])
    return tf.where(whole > 0.0, 1.0 - variance(parts["return"] - values) / tf.maximum(whole, 1e-30), 0.0)
