"""P-DQN: a Q-network on [s, x] and a parameter actor that ascends the sum of its values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from pamdp_agents.base.actor_critic import ActorCriticAgent, numbered
from pamdp_agents.base.policy import Networks, best, where_allowed
from pamdp_agents.base.settings import choice, flag, integer, setting
from pamdp_agents.experience.transition import Decision, Transition
from pamdp_agents.learning.train_state import Call, TrainState
from pamdp_agents.networks.models import FlatNetwork, NumPyModel
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

    n_policies: int = setting(
        default=1,
        text="""Number of parameter actors, which share nothing: the best of all their actions, by the Q-network's
        values, is taken.""",
        kind=integer(1),
    )

    of_parameters = ("policy",)

    @property
    def actor_names(self) -> list[str]:
        """The actors' names among the networks, the first one's first."""
        return numbered("actor", self.n_policies)

    def make_networks(self) -> dict[str, FlatNetwork]:
        """Returns the Q-networks and the actors that `policy_kwargs` describe."""
        if self.n_policies > 1 and not self.parameterized_space.parameter_size:
            raise ValueError(f"n_policies={self.n_policies} actors need parameters to give, but no action has any")
        return super().make_networks()

    def make_critic(self, **arguments: Any) -> NumPyModel:
        """Returns the Q-network, which is also called for the values of given actions only."""
        return JointQ(self.observation_transform.size, self.parameterized_space.mask, **arguments)

    def values(self, q: Callable[..., Any], observations: Any, outputs: Any) -> Any:
        """Returns the values of all actions with each actor's parameters, [n, n_policies·K], actor by actor."""
        if self.n_policies == 1:
            return q(observations, outputs)
        if isinstance(outputs, np.ndarray):
            return np.concatenate([q(observations, x) for x in np.split(outputs, self.n_policies, 1)], 1)
        return tf.concat([q(observations, x) for x in tf.split(outputs, self.n_policies, 1)], 1)

    def act(self, networks: Networks, observations: Any, masks: Any = None) -> Decision:
        """Returns the allowed action of the highest value, with the actor's parameters; of several, its number."""
        if self.n_policies == 1:
            x = networks["actor"](observations)
            return Decision(best(networks["q"](observations, x), masks), x, {})
        x = self.outputs(networks, observations)
        chosen = best(self.values(networks["q"], observations, x), self._of_all_actors(masks))
        policy, k = chosen // self.parameterized_space.n, chosen % self.parameterized_space.n
        shape = (-1, self.n_policies, self.parameterized_space.parameter_size)
        if isinstance(x, np.ndarray):
            return Decision(k, x.reshape(shape)[np.arange(len(x)), policy], {"policy": np.float32(policy[:, None])})
        own = tf.reduce_sum(tf.reshape(x, shape) * tf.one_hot(policy, self.n_policies)[:, :, None], 1)
        return Decision(k, own, {"policy": tf.cast(policy, tf.float32)[:, None]})

    def extras(self) -> dict[str, int]:
        """Returns that the number of the actor is stored, if there are several."""
        return {"policy": 1} if self.n_policies > 1 else {}

    def find_extras(self, k: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the first actor for actions that the agent did not decide itself."""
        return {name: np.zeros((len(k), 1)) for name in self.extras()}

    def draw(self, rng: np.random.Generator, n: int, masks: np.ndarray | None = None) -> Decision:
        """Draws n random decisions: discrete actions, and actors, uniformly; parameters are the noise's business."""
        drawn = super().draw(rng, n, masks)
        if self.n_policies == 1:
            return drawn
        return drawn._replace(extras={"policy": rng.integers(self.n_policies, size=(n, 1))})

    def _of_all_actors(self, masks: Any) -> Any:
        """Returns masks [n, K] once for each actor, actor by actor: [n, n_policies·K]."""
        if masks is None or self.n_policies == 1:
            return masks
        return (np if isinstance(masks, np.ndarray) else tf).tile(masks, [1, self.n_policies])

    def output_mask(self) -> np.ndarray:
        """Returns which of the actors' outputs belong to which actor's action, bool [n_policies·K, n_policies·P]."""
        return np.kron(np.eye(self.n_policies, dtype=bool), self.parameterized_space.mask)

    def taken(self, batch: Transition) -> tf.Tensor:
        """Returns which actor's action was taken, int32 [n], the first actor's actions first."""
        if self.n_policies == 1:
            return batch.k
        return tf.cast(batch.extras["policy"][:, 0], tf.int32) * self.parameterized_space.n + batch.k

    def q_values(self, observation: Any) -> ActionValues:
        """Returns the value of every discrete action with the actor's parameters, and these parameters.

        With several actors, those of the best for each action.

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
            x = np.asarray(self.outputs(networks, rows))
            values = np.asarray(self.values(networks["q"], rows, x))
        n = len(rows)
        x, values = x.reshape(n, self.n_policies, space.parameter_size), values.reshape(n, self.n_policies, space.n)
        of_best, values = x[np.arange(n)[:, None], values.argmax(1)], values.max(1)
        taken = [space.decompose_batch(space.to_env_batch(np.full(n, k), of_best[:, k]))[1] for k in range(space.n)]
        parameters = [all_of[:, space.mask[k]] for k, all_of in enumerate(taken)]
        if batched:
            return ActionValues(values, parameters)
        return ActionValues(values[0], [of_one[0] for of_one in parameters])

    def target(self, state: TrainState, batch: Transition, call: Call) -> tf.Tensor:
        """Returns y = r + γ(1 − terminated)·max_k min_i Q'_i(s', μ'(s'))_k."""
        q_next, masks = self.target_values(state, batch, call), self._of_all_actors(self.next_masks(batch))
        if self.double_q:
            online = {name: partial(self.networks[name], state.networks[name].weights) for name in self.networks}
            values = self.values(online["q"], batch.s2, self.outputs(online, batch.s2))
            value = values_of(q_next, best(values, masks))
        else:
            value = tf.reduce_max(where_allowed(q_next, masks, -np.inf), 1)
        return batch.r + call.inputs["gamma"] * batch.discount * value

    def predict_value(self, q_weights: tf.Tensor, batch: Transition) -> tf.Tensor:
        """Returns Q(s, x)_k."""
        return self.networks["q"](q_weights, batch.s, batch.x, batch.k)

    def objective(self, q_weights: tf.Tensor, output: tf.Tensor, batch: Transition, call: Call) -> tf.Tensor:
        """Returns Σ_k w_k·Q(s, μ(s))_k, summed over all actors."""
        values = self.values(partial(self.networks["q"], q_weights), batch.s, output)
        weights = self._term_weights(batch, call)
        return tf.reduce_sum((weights if self.n_policies == 1 else tf.tile(weights, [1, self.n_policies])) * values, 1)

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
            weights = tf.random.stateless_uniform([n_actions], call.seed, alg="philox")
            weights /= tf.norm(weights)
        return weights * taken if self.actor_loss_indexed else weights[None]
