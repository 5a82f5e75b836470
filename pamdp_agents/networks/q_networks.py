"""Q-networks Q(s, x) → one value per discrete action: joint (P-DQN) and multi-pass (MP-DQN)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from pamdp_agents.networks import layers
from pamdp_agents.networks.activations import Array, get_activation
from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.initializers import UNIFORM_FAN_IN, Initializer, get_initializer
from pamdp_agents.networks.layers import (
    OutputLayer,
    add_few,
    affine,
    dense,
    hidden_in_numpy,
    hidden_layers,
    narrow_affine,
    normalized_in_numpy,
)
from pamdp_agents.networks.models import NumPyModel
from pamdp_agents.networks.owners import Owners


class JointQ(NumPyModel):
    """P-DQN's Q-network: Q(s, x) on the observation and all parameters together, K outputs.

    Args:
        n_observations: Size of the observation.
        parameter_mask: bool [K, P], which parameters belong to which discrete action. Where no parameter belongs to
            several, those of action 0 come first, then those of action 1, and so on.
        net_arch: Units of each hidden layer; none for a linear network.
        activation_fn: Activation of the hidden layers.
        output_initializer: Initialiser of the output layer's kernel; default uniform ±1/√fan_in.
        features_extractor: What the Dense layers get in place of the observation.
        layer_norm: Normalise in the hidden layers.
        dueling: Q_k = V + A_k − mean_j A_j, with V and the advantages A from the last hidden layer.
    """

    def __init__(
        self,
        n_observations: int,
        parameter_mask: ArrayLike,
        net_arch: Sequence[int] = (256,),
        activation_fn: str | Callable = "relu",
        output_initializer: Initializer | None = None,
        features_extractor: FeaturesExtractor | None = None,
        layer_norm: bool = False,
        dueling: bool = False,
    ):
        activation = get_activation(activation_fn)
        super().__init__("q", activation, features_extractor)
        self.n_features = n_observations if features_extractor is None else features_extractor.n_features
        self.owners = Owners(parameter_mask)
        self.layer_norm, self.dueling = layer_norm, dueling
        self.hidden = hidden_layers(net_arch, activation, layer_norm)

        def output(units: int, name: str) -> OutputLayer:
            initializer = get_initializer(output_initializer or UNIFORM_FAN_IN)
            return OutputLayer(units, kernel_initializer=initializer, name=name)

        self.out = output(self.owners.n_actions, "output")
        self.heads = [self.out, *([output(1, "value")] if dueling else [])]
        self.build_layers()

    def build_layers(self) -> None:
        """Creates the weights: kernels [in, out], the first with the features' rows before the parameters'."""
        width = self.n_features + self.owners.n_parameters
        for layer in self.hidden:
            layer.build((None, width))
            width = layer.units
        for layer in self.heads:
            layer.build((None, width))
        self.built = True

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        h = self.features(observation)
        if self.owners.n_parameters:  # TFLite concatenates wrongly with an array of size 0
            h = tf.concat([h, x], 1)
        for layer in self.hidden:
            h = layer(h)
        values = narrow_affine(h, *self._head()) if self.dueling else self.out(h)
        return values if k is None else values_of(values, k)

    def _head(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the kernel [units, K] and the bias [K] that make values of the last hidden layer."""
        return _joined([tf.convert_to_tensor(part) for head in self.heads for part in (head.kernel, head.bias)])

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """Returns the same in NumPy, for the given weights (in the order of `trainable_variables`)."""
        hidden, head = self._split(weights)
        h = np.concatenate([observation, x], 1)
        return dense(hidden_in_numpy(h, hidden, self._require_numpy(), self.layer_norm), *head)

    def _split(self, weights: Sequence[Array]) -> tuple[Sequence[Array], tuple[Array, Array]]:
        """Returns the hidden layers' weights, and the kernel and the bias that make values of the last one."""
        if self.dueling:
            return weights[:-4], _joined(weights[-4:])
        return weights[:-2], (weights[-2], weights[-1])


class MultiPassQ(JointQ):
    """MP-DQN's Q-network: K passes, pass k with all parameters but x_k set to 0; Q_k is output k of pass k.

    The weights are those of `JointQ`. In the first layer the part of the observation, or of its features, is the
    same in every pass and x_k meets only its own rows, so both are computed once; of the output layer only the K values
    asked for are. Where one action of each row is asked for, its pass is the only one.

    References:
        Bester, James & Konidaris 2019, "Multi-Pass Q-Networks for Deep Reinforcement Learning with Parameterised
        Action Spaces" (arXiv 1905.04388), section 4.
    """

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        n, owners = self.n_features, self.owners
        if k is not None:
            return super().call(observation, owners.of_the_taken(x, k), k)
        if not self.hidden:  # a linear network: one pass, in which no output has weights of others' parameters
            kernel, bias = self._head()
            values = affine(self.features(observation), kernel[:n], bias)
            own_weights = kernel[n:] * owners.mask.T
            return values + tf.matmul(x, own_weights) if owners.n_parameters else values
        first, *others = self.hidden
        # Axes [K, n, units], the passes first: every product is a plain batched matrix product, without transposes.
        h = affine(self.features(observation), first.kernel[:n], first.bias)[None]
        if owners.n_parameters:
            own_x, own_kernel = owners.per_action(tf.transpose(x)), owners.per_action(first.kernel[n:])
            few = owners.largest <= layers.NARROW
            h = add_few(h, own_x, own_kernel) if few else h + tf.matmul(own_x, own_kernel, transpose_a=True)
        else:
            h = tf.repeat(h, owners.n_actions, axis=0)
        h = first.finish(h)
        for layer in others:
            h = layer(h)
        kernel, bias = self._head()
        values = tf.matmul(h, tf.transpose(kernel)[:, :, None])
        return tf.transpose(values[:, :, 0]) + bias

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """Returns the same in NumPy; the axis of the actions comes first, so that every product is one BLAS call."""
        activation, n, owners = self._require_numpy(), self.n_features, self.owners
        hidden, (out_kernel, out_bias) = self._split(weights)
        if not self.hidden:
            return dense(observation, out_kernel[:n], out_bias) + x @ (out_kernel[n:] * owners.mask.T)
        kernel, bias, *others = hidden
        h = np.empty((owners.n_actions, len(observation), kernel.shape[1]), np.float32)
        if owners.shared:
            masked = (owners.mask[:, None] * x).reshape(-1, owners.n_parameters)
            np.matmul(masked, kernel[n:], out=h.reshape(len(masked), -1))
        else:
            start = 0
            for k, size in enumerate(owners.sizes):
                own_x, own_kernel = x[:, start : start + size], kernel[n + start : n + start + size]
                # For one parameter, an outer product, which NumPy multiplies faster than BLAS.
                (np.multiply if size == 1 else np.matmul)(own_x, own_kernel, out=h[k])
                start += size
        h += dense(observation, kernel[:n], bias)
        if self.layer_norm:
            gamma, beta, *others = others
            h = normalized_in_numpy(h, gamma, beta)
        h = hidden_in_numpy(activation(h), others, activation, self.layer_norm)
        return (h @ out_kernel.T[:, :, None])[:, :, 0].T + out_bias


def _joined(heads: Sequence[Any]) -> tuple[Any, Any]:
    """Returns the kernel and the bias of values, given those of all heads: of values, or of advantages and V.

    V + A_k − mean_j A_j is linear in the last hidden layer too: so its kernel's column k is the advantage's, minus the
    mean of these, plus V's. In a pass of MP-DQN's, all of them are of that pass.
    """
    if len(heads) == 2:
        return heads[0], heads[1]
    kernel, bias, value_kernel, value_bias = heads
    mean = np.mean if isinstance(kernel, np.ndarray) else tf.reduce_mean
    return tuple(
        advantage - mean(advantage, -1, keepdims=True) + value
        for advantage, value in ((kernel, value_kernel), (bias, value_bias))
    )


def values_of(values: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Values [n, K] and actions [n] → the actions' values [n]; by product, for XLA's gathers are slow on the CPU."""
    return tf.reduce_sum(values * tf.one_hot(k, values.shape[1]), 1)
