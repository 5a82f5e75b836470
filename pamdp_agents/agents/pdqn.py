"""P-DQN: a Q-network on [s, x] and a parameter actor that ascends the sum of its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from pamdp_agents import schedules, strategies
from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.checks import check_bool, check_choice, check_positive, check_range
from pamdp_agents.environments.adapter import Environment
from pamdp_agents.experience.transition import Batch
from pamdp_agents.exploration.noise import ParameterNoise
from pamdp_agents.learning.losses import fractions, huber
from pamdp_agents.learning.optimizers import adam, clip_by_norm, polyak
from pamdp_agents.learning.train_state import Metrics, Rates, TrainState, Update
from pamdp_agents.networks import features
from pamdp_agents.networks.models import FlatNetwork
from pamdp_agents.networks.parameter_actor import ParameterActor
from pamdp_agents.networks.q_networks import JointQ, values_of
from pamdp_agents.schedules import Schedule

ActorLossWeighting = Literal["sum", "average", "weighted", "random_weighted"]


class PDQN(OffPolicyAgent):
    """Parametrised deep Q-network (P-DQN).

    The Q-network maps an observation and the parameters of all discrete actions to one value per discrete action; the
    parameter actor μ maps the observation to all parameters. The agent takes the discrete action of the highest
    value, with the actor's parameters.

    * Target: y = r + γ(1 − terminated)·max_k Q'(s', μ'(s'))_k, where ' marks the target networks.
    * The Q-network minimises the error of Q(s, x)_k, with k and x from the replay buffer, against y.
    * The actor ascends the batch mean of Σ_k Q(s, μ(s))_k; `strategy` changes the gradient that reaches μ(s).

    Args:
        policy: `"MlpPolicy"` (observations flattened), `"CnnPolicy"` (images) or `"MultiInputPolicy"` (Dict and
            Tuple observations, with images or not); see `pamdp_agents.networks.features`.
        env: A Gymnasium environment, its id, a Gymnasium vector environment, a Stable-Baselines3 `VecEnv`, or None
            (only to load an agent or to be given one later by `set_env`).
        learning_rate: Adam's step size for the Q-network, at least 0: a number, or a schedule, which is a function of
            the progress that remains (1 at the start of `learn`, 0 at its end); see `pamdp_agents.schedules`.
        buffer_size: Number of transitions in the replay buffer.
        learning_starts: Environment steps before the first update; until then the discrete action is random (ε = 1).
        batch_size: Transitions in one update.
        tau: Polyak coefficient of the Q-network's target, in (0, 1].
        gamma: Discount factor γ, in [0, 1].
        train_freq: Steps between updates, each of all parallel environments: a number, or `(number, "step")`; or
            `(number, "episode")`, with one environment only.
        gradient_steps: Updates made then, all in one compiled call; −1: as many as environment steps were made since
            the last ones, over all parallel environments.
        policy_kwargs: `net_arch` (hidden units: a list for both networks, or `{"pi": [...], "qf": [...]}`; default
            [256]), `activation_fn` (default "relu"), `q_output_initializer` and `actor_output_initializer`
            (Keras initialisers, or their configurations), `features_extractor` (a Keras model of your own, in place
            of the policy's, that maps observations [n, ...] to features [n, F]; or its configuration).
        stats_window_size: Episodes over which the logged returns are averaged.
        tensorboard_log: Folder for TensorBoard's logs, or None.
        verbose: 0 silent, 1 prints the settings and the log table.
        seed: Seed of the weights, the exploration, the replay samples and the environment.
        device: `"auto"`, `"cpu"`, `"gpu"` or a TensorFlow device name.
        strategy: How the gradient that reaches the action-parameters is changed; see
            `pamdp_agents.strategies`.
        actor_learning_rate: Adam's step size for the parameter actor, a number or a schedule.
        actor_tau: Polyak coefficient of the actor's target, in (0, 1].
        exploration_initial_eps: ε at the start.
        exploration_final_eps: ε at the end of its linear fall.
        exploration_fraction: Fraction of `total_timesteps` over which ε falls, in (0, 1].
        exploration_episodes: If given, ε falls over this many episodes instead.
        exploration_schedule: If given, ε as a function of the progress that remains, in place of the four above.
        action_noise: `"uniform"`, `"gaussian"`, `"ornstein_uhlenbeck"`, a configuration or an object; see
            `pamdp_agents.exploration`.
        max_grad_norm: Each network's gradient is scaled down to this norm; None: not clipped.
        loss: `"mse"` or `"huber"` (threshold 1).
        double_q: Choose the target's k by the online networks (double Q-learning). Off in the published agents.
        reward_scale: What rewards are multiplied by before they are stored.
        passthrough: Fixed linear map from the scaled observation to initial parameters, added to the actor's output and
            never trained: `{"bias": [P], "weight": [P, D]}`.
        scale_observations: Scale observations to [−1, 1] from the observation space's finite bounds; or a list of those
            keys of a Dict that are to be scaled. What `VecNormalize` normalises is never scaled.
        actor_loss_weighting: Weights of the terms of the actor's sum over k: `"sum"` (1), `"average"` (1/K),
            `"weighted"` (k's frequency in the batch), `"random_weighted"` (uniform, unit norm, new in each update).
        actor_loss_indexed: Keep only the taken k's term of that sum.

    Raises:
        ValueError: An argument is out of its range, or the action space is unbounded.
        TypeError: The action space is not a parameterised one.

    References:
        Xiong et al. 2018, "Parametrized Deep Q-Networks Learning: Reinforcement Learning with Discrete-Continuous
        Hybrid Action Space" (arXiv 1810.06394). Weights of the actor's sum: Bester, James & Konidaris 2019
        (arXiv 1905.04388) and their published code.
    """

    rate_names: ClassVar[tuple[str, ...]] = ("learning_rate", "actor_learning_rate")
    metric_names: ClassVar[tuple[str, ...]] = (
        "critic_loss",
        "actor_loss",
        "mean_q",
        "mean_td_error",
        "strategy_changed_fraction",
        "parameters_at_bound_fraction",
    )

    def __init__(
        self,
        policy: str,
        env: Environment | str | None,
        learning_rate: float | Schedule = 1e-3,
        buffer_size: int = 100_000,
        learning_starts: int = 500,
        batch_size: int = 128,
        tau: float = 0.01,
        gamma: float = 0.95,
        train_freq: int | tuple[int, Literal["step", "episode"]] = 1,
        gradient_steps: int = 1,
        policy_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: str = "auto",
        *,
        strategy: str | dict[str, Any] | Sequence[Any] | strategies.Strategy = "inverting",
        actor_learning_rate: float | Schedule = 1e-4,
        actor_tau: float = 0.001,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.01,
        exploration_fraction: float = 0.1,
        exploration_episodes: int | None = None,
        exploration_schedule: Schedule | None = None,
        action_noise: str | dict[str, Any] | ParameterNoise = "uniform",
        max_grad_norm: float | None = 10.0,
        loss: Literal["mse", "huber"] = "mse",
        double_q: bool = False,
        reward_scale: float = 1.0,
        passthrough: dict[str, Any] | None = None,
        scale_observations: bool | list[str] = True,
        actor_loss_weighting: ActorLossWeighting = "sum",
        actor_loss_indexed: bool = False,
    ):
        self.strategy = strategies.get(strategy)
        self.actor_learning_rate = schedules.get("actor_learning_rate", actor_learning_rate)
        self.actor_tau = check_range("actor_tau", actor_tau, above=0, to=1)
        self.max_grad_norm = None if max_grad_norm is None else check_positive("max_grad_norm", max_grad_norm)
        self.loss = check_choice("loss", loss, ("mse", "huber"))
        self.double_q = check_bool("double_q", double_q)
        self.passthrough = passthrough
        self.actor_loss_weighting = check_choice("actor_loss_weighting", actor_loss_weighting, WEIGHTINGS)
        self.actor_loss_indexed = check_bool("actor_loss_indexed", actor_loss_indexed)
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            buffer_size=buffer_size,
            learning_starts=learning_starts,
            batch_size=batch_size,
            tau=tau,
            gamma=gamma,
            train_freq=train_freq,
            gradient_steps=gradient_steps,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            seed=seed,
            device=device,
            exploration_initial_eps=exploration_initial_eps,
            exploration_final_eps=exploration_final_eps,
            exploration_fraction=exploration_fraction,
            exploration_episodes=exploration_episodes,
            exploration_schedule=exploration_schedule,
            action_noise=action_noise,
            reward_scale=reward_scale,
            scale_observations=scale_observations,
        )

    def _make_q(self, **kwargs: Any) -> keras.Model:
        """Returns the Q-network, which the update also calls for the values of given actions only."""
        return JointQ(self.observations.size, self.actions.parameter_sizes, **kwargs)

    def _make_networks(
        self,
        net_arch: Sequence[int] | dict[str, Sequence[int]] = (256,),
        activation_fn: str | Callable = "relu",
        q_output_initializer: Any = None,
        actor_output_initializer: Any = None,
        features_extractor: keras.Model | dict[str, Any] | None = None,
    ) -> dict[str, FlatNetwork]:
        arch = net_arch if isinstance(net_arch, dict) else {"pi": net_arch, "qf": net_arch}
        if arch.keys() != {"pi", "qf"}:
            raise ValueError(f'net_arch must be a list or {{"pi": [...], "qf": [...]}}, got {net_arch!r}')
        make_extractor = features.make(features_extractor, self.policy, self.observations)
        actor = ParameterActor(
            self.observations.size,
            self.actions.parameter_size,
            arch["pi"],
            activation_fn,
            actor_output_initializer,
            self.passthrough,
            squash=getattr(self.strategy, "squashes", False),
            features_extractor=make_extractor(),
        )
        q = self._make_q(
            net_arch=arch["qf"],
            activation_fn=activation_fn,
            output_initializer=q_output_initializer,
            features_extractor=make_extractor(),
        )
        return {"q": FlatNetwork(q), "actor": FlatNetwork(actor)}

    def _weights_changed(self) -> None:
        flat = self.learner.weights()
        self._acting = {name: network.split(flat[name]) for name, network in self.learner.networks.items()}

    def _greedy(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q, actor = (self.learner.networks[name].model for name in ("q", "actor"))
        if q.numpy_activation is None or actor.numpy_activation is None:
            x, values = self._compiled_greedy(observations, *self.learner.weights().values())
            return values.numpy().argmax(1), x.numpy()
        if len(observations) > CACHED_ROWS:
            blocks = [observations[i : i + CACHED_ROWS] for i in range(0, len(observations), CACHED_ROWS)]
            k, x = zip(*map(self._greedy, blocks), strict=True)
            return np.concatenate(k), np.concatenate(x)
        x = actor.numpy_call(self._acting["actor"], observations)
        values = q.numpy_call(self._acting["q"], observations, x)
        return values.argmax(1), x

    def _greedy_function(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        weights = self.learner.weights()
        q, actor = (self.learner.networks[name].frozen(weights[name]) for name in ("q", "actor"))

        def greedy(observations: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            x = actor(observations)
            return tf.argmax(q(observations, x), 1, tf.int32), x

        return greedy

    def _make_update(self, networks: dict[str, FlatNetwork]) -> Update:
        q, actor = networks["q"], networks["actor"]
        self._compiled_greedy = _compile_greedy(q, actor, self.observations.size)
        n_actions = self.actions.n

        def target(state: TrainState, batch: Batch) -> tf.Tensor:
            """The target y = r + γ(1 − terminated)·max_k Q'(s', μ'(s'))_k."""
            q_state, actor_state = state.networks["q"], state.networks["actor"]
            q_next = q(q_state.target, batch.s2, actor(actor_state.target, batch.s2))
            if self.double_q:
                online = q(q_state.weights, batch.s2, actor(actor_state.weights, batch.s2))
                value = values_of(q_next, tf.argmax(online, 1, tf.int32))
            else:
                value = tf.reduce_max(q_next, 1)
            return batch.r + self.gamma * (1.0 - batch.terminated) * value

        def q_gradient(weights: tf.Tensor, batch: Batch, y: tf.Tensor) -> tuple[tf.Tensor, ...]:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                prediction = q(weights, batch.s, batch.x, batch.k)
                td_error = y - prediction
                losses = huber(td_error) if self.loss == "huber" else tf.square(td_error)
                loss = tf.reduce_mean(losses)
            return tape.gradient(loss, weights), losses, td_error, prediction

        def term_weights(batch: Batch, step: tf.Tensor) -> tf.Tensor:
            """The weights of the actor's terms, [n, K] or [1, K]."""
            taken = tf.one_hot(batch.k, n_actions)
            if self.actor_loss_weighting == "sum":
                weights = tf.ones(n_actions)
            elif self.actor_loss_weighting == "average":
                weights = tf.fill([n_actions], 1.0 / n_actions)
            elif self.actor_loss_weighting == "weighted":
                weights = tf.reduce_mean(taken, 0)
            else:
                # Seeded by the batch, which the agent's seed draws: so nothing more has to be saved.
                seed = tf.stack([tf.cast(step, tf.int32), tf.bitcast(tf.reduce_sum(batch.s), tf.int32)])
                weights = tf.random.stateless_uniform([n_actions], seed)
                weights /= tf.norm(weights)
            return weights * taken if self.actor_loss_indexed else weights[None]

        def actor_gradient(
            weights: tf.Tensor, q_weights: tf.Tensor, batch: Batch, td_error: tf.Tensor, step: tf.Tensor
        ) -> tuple[tf.Tensor, ...]:
            """The gradient of the actor's loss, after the strategy, and what is logged of it."""
            with tf.GradientTape() as tape:
                tape.watch(weights)
                x = actor(weights, batch.s)
            with tf.GradientTape() as x_tape:
                x_tape.watch(x)
                values = q(q_weights, batch.s, x)
                objectives = tf.reduce_sum(term_weights(batch, step) * values, 1)
                objective = tf.reduce_mean(objectives)
            ascent = x_tape.gradient(objective, x, unconnected_gradients="zero")
            # Made here, the bounds are constants of the compiled update and not its arguments, which cost time.
            high, mask = tf.ones(self.actions.parameter_size), tf.constant(self.actions.mask)
            changed = self.strategy(ascent, strategies.StrategyContext(x, -high, high, td_error, batch.k, mask))
            if changed.shape != ascent.shape:
                raise ValueError(
                    f"strategy must return a gradient of shape {ascent.shape}, it returned {changed.shape}"
                )
            gradient = tape.gradient(x, weights, -changed, unconnected_gradients="zero")
            return gradient, -objectives, fractions(changed != ascent), fractions(tf.abs(x) >= 1.0)

        def update(state: TrainState, batch: Batch, rates: Rates) -> tuple[TrainState, Metrics]:
            step = state.step + 1.0
            q_state, actor_state = state.networks["q"], state.networks["actor"]

            gradient, critic_losses, td_error, prediction = q_gradient(q_state.weights, batch, target(state, batch))
            gradient = clip_by_norm(gradient, self.max_grad_norm)
            q_state = adam(q_state, gradient, rates["learning_rate"], step)

            gradient, actor_losses, changed, at_bound = actor_gradient(
                actor_state.weights, q_state.weights, batch, td_error, step
            )
            gradient = clip_by_norm(gradient, self.max_grad_norm)
            actor_state = adam(actor_state, gradient, rates["actor_learning_rate"], step)

            networks = {"q": polyak(q_state, self.tau), "actor": polyak(actor_state, self.actor_tau)}
            # One mean of all, for each costs as much as one.
            metrics = tf.stack([critic_losses, actor_losses, prediction, tf.abs(td_error), changed, at_bound])
            means = tf.unstack(tf.reduce_mean(metrics, 1))
            return TrainState(networks, step), dict(zip(self.metric_names, means, strict=True))

        return update


def _compile_greedy(q: FlatNetwork, actor: FlatNetwork, n_observations: int) -> Callable:
    """Returns the function (observations, Q's flat weights, the actor's) → (x, values), for any number of them."""

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, n_observations)),
            tf.TensorSpec(q.size),
            tf.TensorSpec(actor.size),
        ]
    )
    def greedy(observations: tf.Tensor, q_weights: tf.Tensor, actor_weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = actor(actor_weights, observations)
        return x, q(q_weights, observations, x)

    return greedy


CACHED_ROWS = 128  # as many observations as have their hidden layers within the processor's cache

WEIGHTINGS = ("sum", "average", "weighted", "random_weighted")
