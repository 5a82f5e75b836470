"""PA-DDPG: DDPG with an actor that gives a score to each discrete action, beside all parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from pamdp_agents.base.actor_critic import ActorCriticAgent
from pamdp_agents.base.policy import Networks, best, where_allowed
from pamdp_agents.experience.transition import Decision, Transition
from pamdp_agents.learning.train_state import Call, TrainState
from pamdp_agents.networks.models import NumPyModel
from pamdp_agents.networks.parameter_actor import ParameterActor, read_passthrough
from pamdp_agents.networks.q_networks import JointQ

LOWEST = -1.0  # of a score


class PADDPG(ActorCriticAgent):
    """Parameterised-action deep deterministic policy gradient (PA-DDPG).

    The actor μ maps an observation to K scores a, one for each discrete action, and to all parameters x. The agent
    takes the discrete action of the highest score, with its parameters. The critic Q(s, a, x) gives one value to all of
    them.

    * Target: y = r + γ(1 − terminated)·Q'(s', μ'(s')), where ' marks the target networks.
    * The critic minimises the error of Q(s, a, x), with a and x from the replay buffer, against y.
    * The actor ascends the batch mean of Q(s, μ(s)); `strategy` changes the gradient that reaches the scores, whose
      bounds are −1 and 1, and the parameters.

    A random discrete action (ε) is that of the highest of K scores drawn uniformly from [−1, 1], which are stored.
    Where an environment forbids discrete actions, their scores count as −1, the lowest, also in the target.

    Raises:
        ValueError: An argument is out of its range, or the action space is unbounded.
        TypeError: The action space is not a parameterised one.

    References:
        Hausknecht & Stone 2016, "Deep Reinforcement Learning in Parameterized Action Space" (arXiv 1511.04143).
    """

    why_not_dueling = "its critic gives one value, not one for each action"

    def make_actor(self, **arguments: Any) -> ParameterActor:
        """Returns the actor, whose outputs are K scores and P parameters; `passthrough` is of the parameters."""
        space, n_observations = self.parameterized_space, self.observation_transform.size
        n_outputs = space.n + space.parameter_size
        passthrough = None
        if read := read_passthrough(self.passthrough, n_observations, space.parameter_size):
            weight, bias = (np.concatenate([np.zeros((*part.shape[:-1], space.n)), part], -1) for part in read)
            passthrough = {"weight": weight.T, "bias": bias}  # scores start at 0
        return ParameterActor(n_observations, n_outputs, passthrough=passthrough, squash=self._squashes, **arguments)

    def make_critic(self, **arguments: Any) -> NumPyModel:
        """Returns the critic: a Q-network of one output on the observation, the scores and the parameters."""
        space = self.parameterized_space
        return JointQ(self.observation_transform.size, np.ones((1, space.n + space.parameter_size)), **arguments)

    def output_mask(self) -> np.ndarray:
        """Returns which of the actor's outputs belong to which discrete action, bool [K, K + P]."""
        return np.concatenate([np.eye(self.parameterized_space.n, dtype=bool), self.parameterized_space.mask], 1)

    def extras(self) -> dict[str, int]:
        """Returns that the K scores are stored."""
        return {"scores": self.parameterized_space.n}

    def find_extras(self, k: np.ndarray) -> dict[str, np.ndarray]:
        """Returns scores that mean these discrete actions: 1 for each, −1 for all others."""
        return {"scores": np.where(k[:, None] == np.arange(self.parameterized_space.n), 1.0, -1.0)}

    def act(self, networks: Networks, observations: Any, masks: Any = None) -> Decision:
        """Returns the allowed action of the highest score, with the actor's parameters."""
        output, n = networks["actor"](observations), self.parameterized_space.n
        scores = output[:, :n]
        return Decision(best(scores, masks), output[:, n:], {"scores": where_allowed(scores, masks, LOWEST)})

    def draw(self, rng: np.random.Generator, n: int, masks: np.ndarray | None = None) -> Decision:
        """Draws n random decisions: scores uniform in [−1, 1]; their parameters are the noise's business."""
        scores = rng.uniform(-1.0, 1.0, (n, self.parameterized_space.n))
        return Decision(best(scores, masks), None, {"scores": where_allowed(scores, masks, LOWEST)})

    def allowed_outputs(self, outputs: tf.Tensor, masks: tf.Tensor | None) -> tf.Tensor:
        """Returns the actor's outputs, with the lowest score for what is not allowed."""
        if masks is None:
            return outputs
        scores, parameters = tf.split(outputs, [masks.shape[1], outputs.shape[1] - masks.shape[1]], 1)
        return tf.concat([where_allowed(scores, masks, LOWEST), parameters], 1)

    def target(self, state: TrainState, batch: Transition, call: Call) -> tf.Tensor:
        """Returns y = r + γ(1 − terminated)·min_i Q'_i(s', μ'(s'))."""
        value = self.target_values(state, batch, call)[:, 0]
        return batch.r + call.inputs["gamma"] * batch.discount * value

    def predict_value(self, q_weights: tf.Tensor, batch: Transition) -> tf.Tensor:
        """Returns Q(s, a, x)."""
        return self.networks["q"](q_weights, batch.s, tf.concat([batch.extras["scores"], batch.x], 1))[:, 0]

    def objective(self, q_weights: tf.Tensor, output: tf.Tensor, batch: Transition, call: Call) -> tf.Tensor:
        """Returns Q(s, μ(s))."""
        return self.networks["q"](q_weights, batch.s, output)[:, 0]
