"""The network of on-policy agents: the distribution of actions, and the observation's value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from pamdp_agents.networks.activations import Array, get_activation
from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.initializers import UNIFORM_FAN_IN, get_initializer
from pamdp_agents.networks.layers import HiddenLayer, OutputLayer, check_net_arch, dense
from pamdp_agents.networks.models import NumPyModel

LOG_STD = "policy/log_std"  # the name of these weights


class PolicyAndValue(NumPyModel):
    """A policy of logits and means and a value, each with hidden layers of its own; standard deviations beside them.

    Args:
        n_observations: Size of the observation.
        n_logits: Logits of all discrete variables.
        n_numbers: P, numbers of a Gaussian, whose standard deviations are weights and not of the observation.
        net_arch: Hidden units of the policy and the value, `{"pi": [...], "vf": [...]}`.
        activation_fn: Activation of the hidden layers.
        ortho_init: Orthogonal initial kernels, with a gain of √2, of the policy's output 0.01, of the value 1; else
            uniform ±1/√fan_in.
        log_std_init: Where the logarithms of the standard deviations start.
        features_extractor: What the Dense layers of both get in place of the observation.
    """

    def __init__(
        self,
        n_observations: int,
        n_logits: int,
        n_numbers: int,
        net_arch: Mapping[str, Sequence[int]],
        activation_fn: str | Callable = "tanh",
        ortho_init: bool = True,
        log_std_init: float = 0.0,
        features_extractor: FeaturesExtractor | None = None,
    ):
        activation = get_activation(activation_fn)
        super().__init__("policy", activation, features_extractor)
        self.n_numbers = n_numbers

        def initializer(gain: float) -> keras.Initializer:
            return keras.initializers.Orthogonal(gain) if ortho_init else get_initializer(UNIFORM_FAN_IN)

        def hidden(which: str) -> list[HiddenLayer]:
            return [
                HiddenLayer(units, activation, kernel_initializer=initializer(math.sqrt(2)), name=f"{which}_{i}")
                for i, units in enumerate(check_net_arch(net_arch[which]))
            ]

        self.log_std = self.add_weight(
            shape=(n_numbers,), initializer=keras.initializers.Constant(log_std_init), name="log_std"
        )
        self.policy_layers, self.value_layers = hidden("pi"), hidden("vf")
        self.action_net = OutputLayer(n_logits + n_numbers, kernel_initializer=initializer(0.01), name="action_net")
        self.value_net = OutputLayer(1, kernel_initializer=initializer(1.0), name="value_net")
        self(tf.zeros((1, n_observations)))

    def call(self, observation: tf.Tensor) -> tf.Tensor:
        """Maps observations [n, n_observations] to logits, means, log-deviations and value [n, logits + 2·P + 1]."""
        policy = value = self.features(observation)
        for layer in self.policy_layers:
            policy = layer(policy)
        for layer in self.value_layers:
            value = layer(value)
        policy, value = self.action_net(policy), self.value_net(value)
        if not self.n_numbers:  # TFLite concatenates wrongly with an array of size 0
            return tf.concat([policy, value], 1)
        log_std = tf.zeros_like(policy[:, :1]) + tf.convert_to_tensor(self.log_std)
        return tf.concat([policy, log_std, value], 1)

    def numpy_call(self, weights: Sequence[Array], observation: Array) -> Array:
        """Returns the same in NumPy, for the given weights (in the order of `trainable_variables`)."""
        activation, start = self._require_numpy(), 1 + 2 * len(self.policy_layers)
        stop = start + 2 * len(self.value_layers)
        policy, value = observation, observation
        for kernel, bias in zip(weights[1:start:2], weights[2:start:2], strict=True):
            policy = activation(dense(policy, kernel, bias))
        for kernel, bias in zip(weights[start:stop:2], weights[start + 1 : stop : 2], strict=True):
            value = activation(dense(value, kernel, bias))
        log_std = np.broadcast_to(weights[0], (len(observation), self.n_numbers))
        return np.concatenate(
            [dense(policy, *weights[stop : stop + 2]), log_std, dense(value, *weights[stop + 2 : stop + 4])], 1
        )
