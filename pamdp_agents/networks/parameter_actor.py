"""The parameter actor μ(s) → x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pamdp_agents.networks.activations import Array, get_activation
from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.initializers import Initializer, get_initializer
from pamdp_agents.networks.layers import OutputLayer, affine, dense, hidden_in_numpy, hidden_layers
from pamdp_agents.networks.models import NumPyModel


class ParameterActor(NumPyModel):
    """The parameter actor μ(s) → x: every action's parameters from one observation, unbounded unless it squashes.

    Args:
        n_observations: Size of the observation.
        n_parameters: P, the number of parameters of all actions; 0 makes an actor without weights.
        net_arch: Units of each hidden layer.
        activation_fn: Activation of the hidden layers: anything `keras.activations.get` takes, or a class of
            `torch.nn` such as `torch.nn.ReLU`, as in Stable-Baselines3.
        output_initializer: Initialiser of the output layer's kernel; default N(0, 1e-4).
        passthrough: Fixed linear map from observation to initial parameters that is added to the output:
            `{"bias": [P], "weight": [P, n_observations]}`, either may be missing. Scaled units.
        squash: End in tanh. The passthrough then goes through the inverse of tanh, so the initial parameters are the
            same with and without.
        features_extractor: What the Dense layers get in place of the observation; the passthrough still gets that.
        layer_norm: Normalise in the hidden layers.
        bias_initializer: Initialiser of the output layer's bias.
    """

    def __init__(
        self,
        n_observations: int,
        n_parameters: int,
        net_arch: Sequence[int] = (256,),
        activation_fn: str | Callable = "relu",
        output_initializer: Initializer | None = None,
        passthrough: dict[str, Any] | None = None,
        squash: bool = False,
        features_extractor: FeaturesExtractor | None = None,
        layer_norm: bool = False,
        bias_initializer: Initializer = "zeros",
    ):
        activation = get_activation(activation_fn)
        super().__init__("actor", activation, features_extractor if n_parameters else None)
        self.n_parameters, self.squash, self.layer_norm = n_parameters, squash, layer_norm
        self.passthrough = read_passthrough(passthrough, n_observations, n_parameters)
        if n_parameters:
            output_initializer = output_initializer or keras.initializers.RandomNormal(stddev=1e-4)
            self.hidden = hidden_layers(net_arch, activation, layer_norm)
            self.out = OutputLayer(
                n_parameters,
                kernel_initializer=get_initializer(output_initializer),
                bias_initializer=get_initializer(bias_initializer),
                name="output",
            )
            width = n_observations if features_extractor is None else features_extractor.n_features
            # Not left to the first call, where Keras keeps weights for later, also those that failed, in any model.
            for layer in (*self.hidden, self.out):
                layer.build((None, width))
                width = layer.units
        self(tf.zeros((1, n_observations)))

    def call(self, observation: tf.Tensor) -> tf.Tensor:
        """Maps observations [n, n_observations] to parameters [n, P], both scaled to [−1, 1]."""
        if not self.n_parameters:
            return observation[:, :0]
        h = self.features(observation)
        for layer in self.hidden:
            h = layer(h)
        output = self.out(h)
        if self.passthrough is not None:
            initial = affine(observation, *self.passthrough)
            output += _atanh(tf.clip_by_value(initial, -0.999, 0.999)) if self.squash else initial
        return tf.tanh(output) if self.squash else output

    def numpy_call(self, weights: Sequence[Array], observation: Array) -> Array:
        """Returns the same in NumPy, for the given weights (in the order of `trainable_variables`)."""
        if not self.n_parameters:
            return observation[:, :0]
        h = hidden_in_numpy(observation, weights[:-2], self._require_numpy(), self.layer_norm)
        output = dense(h, *weights[-2:])
        if self.passthrough is not None:
            initial = dense(observation, *self.passthrough)
            output += np.arctanh(np.clip(initial, -0.999, 0.999)) if self.squash else initial
        return np.tanh(output) if self.squash else output


def _atanh(x: tf.Tensor) -> tf.Tensor:
    """Returns the inverse of tanh by logarithms, which TFLite has, as it has not `tf.atanh`."""
    return 0.5 * (tf.math.log(1.0 + x) - tf.math.log(1.0 - x))


def read_passthrough(
    passthrough: dict[str, Any] | None, n_observations: int, n_parameters: int, name: str = "passthrough"
) -> tuple[Array, Array] | None:
    """Returns the passthrough as (weight [n_observations, P], bias [P]), or None.

    Raises:
        ValueError: It has other keys or shapes, or holds what is not a finite number.
    """
    if passthrough is None:
        return None
    given = dict(passthrough)
    weight = np.asarray(given.pop("weight", np.zeros((n_parameters, n_observations))), np.float32)
    bias = np.asarray(given.pop("bias", np.zeros(n_parameters)), np.float32)
    if given or weight.shape != (n_parameters, n_observations) or bias.shape != (n_parameters,):
        raise ValueError(
            f"{name} takes weight of shape {(n_parameters, n_observations)} and bias of shape "
            f"{(n_parameters,)}; got weight {weight.shape}, bias {bias.shape}"
            + (f" and the unknown keys {list(given)}" if given else "")
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError(f"{name} must be finite numbers, got weight {weight.tolist()} and bias {bias.tolist()}")
    return np.ascontiguousarray(weight.T), bias
