"""P-DQN: a Q-network on [s, x] and a parameter actor that ascends the sum of its values."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from pamdp_agents.base.actor_critic import ActorCriticAgent
from pamdp_agents.base.policy import Networks, best, where_allowed
from pamdp_agents.base.settings import choice, flag, setting
from pamdp_agents.experience.transition import Decision, Transition
from pamdp_agents.learning.train_state import Call, TrainState
from pamdp_agents.networks.models import NumPyModel
from pamdp_agents.networks.q_networks import JointQ, values_of

ActorLossWeighting = Literal["sum", "average", "weighted", "random_weighted"]


class ActionValues(NamedTuple):
    """What `q_values` returns.

    Attributes:
        values: Q(s, x_k) of each discrete action k, float32 [K] or [n, K].
        parameters: x_k of each, in the environment's units, K arrays of float64 [m_k] or [n, m_k].
    """

    values: np.ndarray
    parameters: list[np.ndarray]


class PDQN(ActorCriticAgent):
    """Parametrised deep Q-network (P-DQN).

    The Q-network maps an observation and the parameters of all discrete actions to one value per discrete action; the
    parameter actor μ maps the observation to all parameters. The agent takes the discrete action of the highest
    value, with the actor's parameters.

    * Target: y = r + γ(1 − terminated)·max_k Q'(s', μ'(s'))_k, where ' marks the target networks.
    * The Q-network minimises the error of Q(s, x)_k, with k and x from the replay buffer, against y.
    * The actor ascends the batch mean of Σ_k Q(s, μ(s))_k; `strategy` changes the gradient that reaches μ(s).

    Raises:
        ValueError: An argument is out of its range, or the action space is unbounded.
        TypeError: The action space is not a parameterised one.

    References:
        Xiong et al. 2018, "Parametrized Deep Q-Networks Learning: Reinforcement Learning with Discrete-Continuous
        Hybrid Action Space" (arXiv 1810.06394). Weights of the actor's sum: Bester, James & Konidaris 2019
        (arXiv 1905.04388) and their published code.
    """

    double_q: bool = setting(
        default=False,
        text="Choose the target's k by the online networks (double Q-learning). Off in the published agents.",
        kind=flag(),
        change="recompiles",
    )
    actor_loss_weighting: ActorLossWeighting = setting(
        default="sum",
        text="""Weights of the terms of the actor's sum over k: `"sum"` (1), `"average"` (1/K), `"weighted"` (k's
        frequency in the batch), `"random_weighted"` (uniform, unit norm, new in each update).""",
        kind=choice("sum", "average", "weighted", "random_weighted"),
        change="recompiles",
    )
    actor_loss_indexed: bool = setting(
        default=False, text="Keep only the taken k's term of that sum.", kind=flag(), change="recompiles"
    )

    def make_critic(self, **arguments: Any) -> NumPyModel:
        """Returns the Q-network, which is also called for the values of given actions only."""
        return JointQ(self.observation_transform.size, self.parameterized_space.mask, **arguments)

    def act(self, networks: Networks, observations: Any, masks: Any = None) -> Decision:
        """Returns the allowed action of the highest value, with the actor's parameters."""
        x = networks["actor"](observations)
        return Decision(best(networks["q"](observations, x), masks), x, {})

    def q_values(self, observation: Any) -> ActionValues:
        """Returns the value of every discrete action with the actor's parameters, and these parameters.

        Args:
            observation: As in `predict`: one observation, or n of them with one more leading axis.

        Returns:
            `values`, float32 [K], and `parameters`, K arrays of float64 [m_k], in the environment's units and as it
            gets them: clipped, and rounded for integer boxes. For n observations, [n, K] and [n, m_k].

        Raises:
            ValueError: The observation has another shape than the observation space, or is not finite.
            RuntimeError: The agent has neither been given an environment nor loaded.
        """
        rows, batched = self.scaled_observations(observation)
        networks, space = self.acting.networks(), self.parameterized_space
        with np.errstate(all="ignore"):  # np.seterr shall find mistakes; numbers that fade to 0 are none
            x = np.asarray(networks["actor"](rows))
            values = np.asarray(networks["q"](rows, x))
        taken = [space.decompose_batch(space.to_env_batch(np.full(len(rows), k), x))[1] for k in range(space.n)]
        parameters = [all_of[:, space.mask[k]] for k, all_of in enumerate(taken)]
        if batched:
            return ActionValues(values, parameters)
        return ActionValues(values[0], [of_one[0] for of_one in parameters])

    def target(self, state: TrainState, batch: Transition, call: Call) -> tf.Tensor:
        """Returns y = r + γ(1 − terminated)·max_k Q'(s', μ'(s'))_k."""
        q, actor = self.networks["q"], self.networks["actor"]
        q_state, actor_state, masks = state.networks["q"], state.networks["actor"], self.next_masks(batch)
        q_next = q(q_state.target, batch.s2, actor(actor_state.target, batch.s2))
        if self.double_q:
            online = q(q_state.weights, batch.s2, actor(actor_state.weights, batch.s2))
            value = values_of(q_next, best(online, masks))
        else:
            value = tf.reduce_max(where_allowed(q_next, masks, -np.inf), 1)
        return batch.r + call.inputs["gamma"] * batch.discount * value

    def predict_value(self, q_weights: tf.Tensor, batch: Transition) -> tf.Tensor:
        """Returns Q(s, x)_k."""
        return self.networks["q"](q_weights, batch.s, batch.x, batch.k)

    def objective(self, q_weights: tf.Tensor, output: tf.Tensor, batch: Transition, call: Call) -> tf.Tensor:
        """Returns Σ_k w_k·Q(s, μ(s))_k."""
        values = self.networks["q"](q_weights, batch.s, output)
        return tf.reduce_sum(self._term_weights(batch, call) * values, 1)

    def _term_weights(self, batch: Transition, call: Call) -> tf.Tensor:
        """Returns the weights of the actor's terms, [n, K] or [1, K]."""
        n_actions = self.parameterized_space.n
        taken = tf.one_hot(batch.k, n_actions)
        if self.actor_loss_weighting == "sum":
            weights = tf.ones(n_actions)
        elif self.actor_loss_weighting == "average":
            weights = tf.fill([n_actions], 1.0 / n_actions)
        elif self.actor_loss_weighting == "weighted":
            weights = tf.reduce_mean(taken, 0)
        else:
            weights = tf.random.stateless_uniform([n_actions], call.seed)
            weights /= tf.norm(weights)
        return weights * taken if self.actor_loss_indexed else weights[None]
