"""The networks: a parameter actor μ(s) → x, and Q-networks Q(s, x) → one value per discrete action.

Each is a Keras model that can also be evaluated in plain NumPy (``numpy_call``), which is many times faster than a
TensorFlow call for one observation; but not with a features extractor (:mod:`pamdp_agents.features`), which comes
before the Dense layers.

Weights start as in the published P-DQN and MP-DQN: He-normal hidden layers, zero biases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

import keras
import numpy as np
import tensorflow as tf

from pamdp_agents import keras_configs
from pamdp_agents.features import FeaturesExtractor

Array = np.ndarray
Initializer = Any  # a Keras initialiser, its name or its configuration

NUMPY_ACTIVATIONS: dict[Callable, Callable[[Array], Array]] = {
    keras.activations.relu: lambda h: np.maximum(h, 0, out=h),
    keras.activations.leaky_relu: lambda h: np.maximum(h, np.float32(0.2) * h, out=h),
    keras.activations.tanh: lambda h: np.tanh(h, out=h),
    keras.activations.elu: lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))),
    keras.activations.sigmoid: lambda h: 1 / (1 + np.exp(-h)),
    keras.activations.linear: lambda h: h,
}
# Stable-Baselines3's policies take classes of ``torch.nn``. These are the same functions in Keras, with both defaults.
TORCH_ACTIVATIONS = {
    **{name: name.lower() for name in ("ReLU", "Tanh", "ELU", "SELU", "GELU", "SiLU", "Sigmoid", "Softplus", "Mish")},
    "Identity": "linear",
}
# PyTorch's default for linear layers, which the published Q-networks' output layer keeps.
UNIFORM_FAN_IN = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}


def _hidden_layers(net_arch: Sequence[int], activation: Callable) -> list[keras.layers.Dense]:
    if isinstance(net_arch, str) or not net_arch or not all(isinstance(n, int) and n > 0 for n in net_arch):
        raise ValueError(f"net_arch must be a list of at least one positive number of units, got {net_arch!r}")
    return [
        keras.layers.Dense(units, activation, kernel_initializer="he_normal", name=f"hidden_{i}")
        for i, units in enumerate(net_arch)
    ]


NARROW = 3
"""Where a matrix has up to so many columns or rows, sums over them take the place of products that XLA computes ten
times slower on the CPU: with plain products, a third of a small update's time went there."""


class OutputLayer(keras.layers.Dense):
    """A Dense layer whose gradients are computed column by column if it has few."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Maps [n, inputs] to [n, units]."""
        if self.units > NARROW:
            return super().call(inputs)
        return _narrow_product(inputs, tf.convert_to_tensor(self.kernel)) + self.bias


@tf.custom_gradient
def _narrow_product(h: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        columns = tf.unstack(upstream[:, :, None], axis=1)
        of_h = tf.add_n([column * each for column, each in zip(columns, tf.unstack(kernel, axis=1), strict=True)])
        return of_h, tf.stack([tf.reduce_sum(h * column, 0) for column in columns], 1)

    return h @ kernel, gradient


def _activation(activation_fn: str | Callable) -> Callable:
    """Returns the function of a Keras name or of a PyTorch class, or the function given."""
    if not isinstance(activation_fn, str) and not callable(activation_fn):
        raise TypeError(f"activation_fn must be the name of a Keras activation or a function, got {activation_fn!r}")
    return keras.activations.get(_keras_name(activation_fn))


def _keras_name(activation_fn: Any) -> Any:
    """Returns the Keras name of an activation class of ``torch.nn``; anything else as it is.

    Raises:
        ValueError: It is a class of ``torch.nn`` for which Keras has no function that does the same by default.
    """
    if not (isinstance(activation_fn, type) and activation_fn.__module__.startswith("torch.nn.")):
        return activation_fn
    if activation_fn.__name__ not in TORCH_ACTIVATIONS:
        raise ValueError(
            f"activation_fn: of torch.nn, {', '.join(TORCH_ACTIVATIONS)} are known, got {activation_fn.__name__}; "
            "pass the name of a Keras activation, or a function"
        )
    return TORCH_ACTIVATIONS[activation_fn.__name__]


def _numpy_activation(activation: Callable) -> Callable[[Array], Array] | None:
    return next((numpy for function, numpy in NUMPY_ACTIVATIONS.items() if function is activation), None)


def _initializer(identifier: Initializer) -> keras.Initializer:
    """Returns the Keras initialiser of a name, a configuration ``{"class_name": ..., "config": {...}}`` or an object.

    Configurations can come from files. So only Keras's own initialisers are looked up in them, where Keras's
    deserialiser would import what the configuration names.
    """
    if isinstance(identifier, dict):
        found = getattr(keras.initializers, str(identifier.get("class_name")), None)
        if identifier.keys() > {"class_name", "config"} or not _is_initializer_class(found):
            raise ValueError(
                'an initializer must be a name, an object or {"class_name": one of Keras\'s, "config": {...}}, got '
                f"{identifier!r}"
            )
        keras_configs.check(identifier.get("config"))  # Keras deserialises what is nested in it, such as a seed
        return found(**identifier.get("config", {}))
    return keras.initializers.get(identifier)


def _is_initializer_class(found: Any) -> TypeGuard[type[keras.Initializer]]:
    return isinstance(found, type) and issubclass(found, keras.Initializer)


def serialize_policy_kwargs(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns ``policy_kwargs`` for JSON: Keras's objects as configurations, PyTorch's activations as names."""
    return {name: _serialized(value) for name, value in policy_kwargs.items()}


def _serialized(value: Any) -> Any:
    if isinstance(value, keras.Model):
        return keras_configs.serialize(value)
    if _is_initializer_class(type(value)) and type(value).__module__.startswith("keras."):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    return _keras_name(value)


class NumPyModel(keras.Model):
    """A Keras model that can also be evaluated in NumPy, if its activation has a NumPy form and there is no extractor.

    Args:
        name: The model's name.
        activation: Activation of the hidden layers.
        features_extractor: From flat observations to the features that the Dense layers get; None: the observations.

    Attributes:
        numpy_activation: The activation's NumPy form, or None.
        features_extractor: As given.
    """

    def __init__(self, name: str, activation: Callable, features_extractor: FeaturesExtractor | None):
        super().__init__(name=name)
        self.features_extractor = features_extractor
        self.numpy_activation = _numpy_activation(activation) if features_extractor is None else None

    def features(self, observation: tf.Tensor) -> tf.Tensor:
        """Maps flat observations [n, n_observations] to what the Dense layers get."""
        return observation if self.features_extractor is None else self.features_extractor(observation)

    def _require_numpy(self) -> Callable[[Array], Array]:
        if self.numpy_activation is None:
            raise NotImplementedError(
                f"{type(self).__name__} has a features extractor or an activation without a NumPy form: call the model "
                "instead"
            )
        return self.numpy_activation


class ParameterActor(NumPyModel):
    """The parameter actor μ(s) → x: every action's parameters from one observation, unbounded unless it squashes.

    Args:
        n_observations: Size of the observation.
        n_parameters: P, the number of parameters of all actions; 0 makes an actor without weights.
        net_arch: Units of each hidden layer.
        activation_fn: Activation of the hidden layers: anything ``keras.activations.get`` takes, or a class of
            ``torch.nn`` such as ``torch.nn.ReLU``, as in Stable-Baselines3.
        output_initializer: Initialiser of the output layer's kernel; default N(0, 1e-4).
        passthrough: Fixed linear map from observation to initial parameters that is added to the output:
            ``{"bias": [P], "weight": [P, n_observations]}``, either may be missing. Scaled units.
        squash: End in tanh. The passthrough then goes through the inverse of tanh, so the initial parameters are the
            same with and without.
        features_extractor: What the Dense layers get in place of the observation; the passthrough still gets that.
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
    ):
        activation = _activation(activation_fn)
        super().__init__("actor", activation, features_extractor if n_parameters else None)
        self.n_parameters, self.squash = n_parameters, squash
        self.passthrough = _read_passthrough(passthrough, n_observations, n_parameters)
        if n_parameters:
            output_initializer = output_initializer or keras.initializers.RandomNormal(stddev=1e-4)
            self.hidden = _hidden_layers(net_arch, activation)
            self.out = OutputLayer(n_parameters, kernel_initializer=_initializer(output_initializer), name="output")
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
            weight, bias = self.passthrough
            initial = observation @ weight + bias
            output += _atanh(tf.clip_by_value(initial, -0.999, 0.999)) if self.squash else initial
        return tf.tanh(output) if self.squash else output

    def numpy_call(self, weights: Sequence[Array], observation: Array) -> Array:
        """The same in NumPy, for the given weights (in the order of ``trainable_variables``)."""
        if not self.n_parameters:
            return observation[:, :0]
        h, activation = observation, self._require_numpy()
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = activation(_dense(h, kernel, bias))
        output = _dense(h, *weights[-2:])
        if self.passthrough is not None:
            initial = _dense(observation, *self.passthrough)
            output += np.arctanh(np.clip(initial, -0.999, 0.999)) if self.squash else initial
        return np.tanh(output) if self.squash else output


def _atanh(x: tf.Tensor) -> tf.Tensor:
    """The inverse of tanh by logarithms, which TFLite has, as it has not ``tf.atanh``."""
    return 0.5 * (tf.math.log(1.0 + x) - tf.math.log(1.0 - x))


def _read_passthrough(
    passthrough: dict[str, Any] | None, n_observations: int, n_parameters: int
) -> tuple[Array, Array] | None:
    """Returns the passthrough as (weight [n_observations, P], bias [P]), or None."""
    if passthrough is None:
        return None
    given = dict(passthrough)
    weight = np.asarray(given.pop("weight", np.zeros((n_parameters, n_observations))), np.float32)
    bias = np.asarray(given.pop("bias", np.zeros(n_parameters)), np.float32)
    if given or weight.shape != (n_parameters, n_observations) or bias.shape != (n_parameters,):
        raise ValueError(
            f"passthrough takes weight of shape {(n_parameters, n_observations)} and bias of shape "
            f"{(n_parameters,)}; got weight {weight.shape}, bias {bias.shape}"
            + (f" and the unknown keys {list(given)}" if given else "")
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError(f"passthrough must be finite numbers, got weight {weight.tolist()} and bias {bias.tolist()}")
    return np.ascontiguousarray(weight.T), bias


class JointQ(NumPyModel):
    """P-DQN's Q-network: Q(s, x) on the observation and all parameters together, K outputs.

    Args:
        n_observations: Size of the observation.
        parameter_sizes: m_k, the number of parameters of each discrete action.
        net_arch: Units of each hidden layer; at least one.
        activation_fn: Activation of the hidden layers.
        output_initializer: Initialiser of the output layer's kernel; default uniform ±1/√fan_in.
        features_extractor: What the Dense layers get in place of the observation.
    """

    def __init__(
        self,
        n_observations: int,
        parameter_sizes: Sequence[int],
        net_arch: Sequence[int] = (256,),
        activation_fn: str | Callable = "relu",
        output_initializer: Initializer | None = None,
        features_extractor: FeaturesExtractor | None = None,
    ):
        activation = _activation(activation_fn)
        super().__init__("q", activation, features_extractor)
        self.n_features = n_observations if features_extractor is None else features_extractor.n_features
        self.parameter_sizes = tuple(parameter_sizes)
        self.hidden = _hidden_layers(net_arch, activation)
        self.out = OutputLayer(
            len(self.parameter_sizes),
            kernel_initializer=_initializer(output_initializer or UNIFORM_FAN_IN),
            name="output",
        )
        self.build_layers()

    def build_layers(self) -> None:
        """Creates the weights: kernels [in, out], the first with the features' rows before the parameters'."""
        width = self.n_features + sum(self.parameter_sizes)
        for layer in (*self.hidden, self.out):
            layer.build((None, width))
            width = layer.units
        self.built = True

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        h = self.features(observation)
        if sum(self.parameter_sizes):  # TFLite concatenates wrongly with an array of size 0
            h = tf.concat([h, x], 1)
        for layer in (*self.hidden, self.out):
            h = layer(h)
        return h if k is None else values_of(h, k)

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """The same in NumPy, for the given weights (in the order of ``trainable_variables``)."""
        h, activation = np.concatenate([observation, x], 1), self._require_numpy()
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            h = activation(_dense(h, kernel, bias))
        return _dense(h, *weights[-2:])


class MultiPassQ(JointQ):
    """MP-DQN's Q-network: K passes, pass k with all parameters but x_k set to 0; Q_k is output k of pass k.

    The weights are those of :class:`JointQ`. In the first layer the part of the observation, or of its features, is the
    same in every pass and x_k meets only its own rows, so both are computed once; of the output layer only the K values
    asked for are. Where one action of each row is asked for, its pass is the only one.

    References:
        Bester, James & Konidaris 2019, "Multi-Pass Q-Networks for Deep Reinforcement Learning with Parameterised
        Action Spaces" (arXiv 1905.04388), section 4.
    """

    def call(self, observation: tf.Tensor, x: tf.Tensor, k: tf.Tensor | None = None) -> tf.Tensor:
        """Maps observations [n, n_observations] and parameters [n, P] to values [n, K]; for actions k [n], to [n]."""
        first, *others = self.hidden
        n, sizes = self.n_features, self.parameter_sizes
        if k is not None:
            owner = np.repeat(np.arange(len(sizes)), sizes)
            return super().call(observation, x * tf.cast(owner == k[:, None], x.dtype), k)
        # Axes [K, n, units], the passes first: every product is a plain batched matrix product, without transposes.
        h = (self.features(observation) @ first.kernel[:n] + first.bias)[None]
        if sum(sizes):
            own_x, own_kernel = _per_action(tf.transpose(x), sizes), _per_action(first.kernel[n:], sizes)
            few = max(sizes) <= NARROW
            h = _add_few(h, own_x, own_kernel) if few else h + tf.matmul(own_x, own_kernel, transpose_a=True)
        else:
            h = tf.repeat(h, len(sizes), axis=0)
        h = first.activation(h)
        for layer in others:
            h = layer(h)
        values = tf.matmul(h, tf.transpose(self.out.kernel)[:, :, None])
        return tf.transpose(values[:, :, 0]) + self.out.bias

    def numpy_call(self, weights: Sequence[Array], observation: Array, x: Array) -> Array:
        """The same in NumPy; the axis of the actions comes first, so that every product is one BLAS call."""
        activation, n, sizes = self._require_numpy(), self.n_features, self.parameter_sizes
        kernel, bias, *others = weights
        h = np.empty((len(sizes), len(observation), kernel.shape[1]), np.float32)
        start = 0
        for k, size in enumerate(sizes):
            own_x, own_kernel = x[:, start : start + size], kernel[n + start : n + start + size]
            # For one parameter, an outer product, which NumPy multiplies faster than BLAS.
            (np.multiply if size == 1 else np.matmul)(own_x, own_kernel, out=h[k])
            start += size
        h += _dense(observation, kernel[:n], bias)
        h = activation(h)
        for kernel, bias in zip(others[:-2:2], others[1:-2:2], strict=True):
            h = activation(_dense(h, kernel, bias))
        return (h @ others[-2].T[:, :, None])[:, :, 0].T + others[-1]


@tf.custom_gradient
def _add_few(h: tf.Tensor, own_x: tf.Tensor, own_kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """Adds each pass's few parameters [K, m, n] times their rows [K, m, units] to what all share, h [1, n, units]."""
    columns = list(zip(tf.unstack(own_x, axis=1), tf.unstack(own_kernel, axis=1), strict=True))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        of_x = tf.stack([tf.matmul(upstream, row[:, :, None])[:, :, 0] for _, row in columns], 1)
        return tf.reduce_sum(upstream, 0, keepdims=True), of_x, tf.matmul(own_x, upstream)

    for x, row in columns:
        h = h + x[:, :, None] * row[:, None, :]
    return h, gradient


def values_of(values: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Values [n, K] and actions [n] → the actions' values [n]; by product, for XLA's gathers are slow on the CPU."""
    return tf.reduce_sum(values * tf.one_hot(k, values.shape[1]), 1)


def _per_action(rows: tf.Tensor, sizes: Sequence[int]) -> tf.Tensor:
    """Splits rows [P, ...] into [K, max m_k, ...], padded with zeros where an action has fewer parameters."""
    largest = max(sizes)
    if min(sizes) == largest:
        return tf.reshape(rows, (len(sizes), largest, -1))
    parts = tf.split(rows, sizes)
    return tf.stack([tf.pad(part, [[0, largest - size], [0, 0]]) for part, size in zip(parts, sizes, strict=True)])


def _dense(h: Array, kernel: Array, bias: Array) -> Array:
    """Returns h @ kernel + bias, with one array less on the way."""
    output = h @ kernel
    output += bias
    return output


class FlatNetwork:
    """A Keras model whose trainable weights are slices of one flat float32 vector.

    Attributes:
        model: The Keras model; it gives the shapes, the initial weights and the function.
        names: The weights' names. Those of a features extractor are numbered: Keras's names of a user's layers can
            occur twice, or count all layers that the program has made before.
        size: Number of trainable weights.
    """

    def __init__(self, model: NumPyModel):
        self.model = model
        extractor = [] if model.features_extractor is None else model.features_extractor.trainable_variables
        numbers = {id(variable): number for number, variable in enumerate(extractor)}
        self.names = [
            f"features/{numbers[id(variable)]}_{variable.name}"
            if id(variable) in numbers
            else variable.path.removeprefix(f"{model.name}/")
            for variable in model.trainable_variables
        ]
        self._shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._ends = list(itertools.accumulate(self._sizes))
        self.size = sum(self._sizes)

    def initial(self) -> Array:
        """Returns the model's own weights as one vector, float32 [size]."""
        return self.join([variable.numpy() for variable in self.model.trainable_variables])

    def join(self, weights: Sequence[Array]) -> Array:
        """Returns weight arrays as one vector, float32 [size]."""
        return np.concatenate([np.zeros(0, np.float32), *(np.ravel(w) for w in weights)]).astype(np.float32)

    def split(self, flat: Any) -> list[Any]:
        """Returns the weights in the vector, each in its shape: views of an array, or tensors of a tensor."""
        if not self.size:
            return []
        if isinstance(flat, np.ndarray):
            ends = zip(self._ends, self._sizes, self._shapes, strict=True)
            return [flat[end - size : end].reshape(shape) for end, size, shape in ends]
        # One split: its gradient is one concatenation, where each slice's would be a padded vector.
        parts = tf.split(flat, self._sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]

    def __call__(self, flat: tf.Tensor, *inputs: tf.Tensor) -> tf.Tensor:
        """Calls the model with the weights in the vector."""
        outputs, _ = self.model.stateless_call(self.split(flat), self.model.non_trainable_variables, *inputs)
        return outputs

    def frozen(self, flat: Array) -> Callable[..., tf.Tensor]:
        """Returns the model as a function of its inputs, with the weights in the vector and all others as constants."""
        weights = self.split(flat), [variable.numpy() for variable in self.model.non_trainable_variables]
        return lambda *inputs: self.model.stateless_call(*weights, *inputs)[0]
