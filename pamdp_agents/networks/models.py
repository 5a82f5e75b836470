"""The networks: a parameter actor μ(s) → x, and Q-networks Q(s, x) → one value per discrete action.

Each is a Keras model that can also be evaluated in plain NumPy (`numpy_call`), which is many times faster than a
TensorFlow call for one observation; but not with a features extractor (`pamdp_agents.networks.features`), which comes
before the Dense layers.

Weights start as in the published P-DQN and MP-DQN: He-normal hidden layers, zero biases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from pamdp_agents.learning.flat import FlatLayout
from pamdp_agents.networks.activations import Array, numpy_activation
from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.keras_settings import own_keras_settings


class NumPyModel(keras.Model):
    """A Keras model that can also be evaluated in NumPy, if its activation has a NumPy form and there is no extractor.

    Args:
        name: The model's name.
        activation: Activation of the hidden layers.
        features_extractor: From flat observations to the features that the Dense layers get; None: the observations.

    Attributes:
        numpy_activation: The activation's NumPy form, or None.
        features_extractor: As given.
        numpy_call: Does in NumPy what `call` does, given the weights (in the order of `trainable_variables`) first.
    """

    numpy_call: Callable[..., Array]

    def __init__(self, name: str, activation: Callable, features_extractor: FeaturesExtractor | None):
        super().__init__(name=name)
        self.features_extractor = features_extractor
        self.numpy_activation = numpy_activation(activation) if features_extractor is None else None

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


class FlatNetwork:
    """A Keras model whose trainable weights are slices of one flat float32 vector.

    Args:
        model: The Keras model; it gives the shapes, the first weights and the function.
        has_target: Whether it is trained with a target network.

    Attributes:
        model: As given.
        has_target: As given.
        names: The weights' names. Those of a features extractor are numbered: Keras's names of a user's layers can
            occur twice, or count all layers that the program has made before.
        size: Number of trainable weights.
    """

    def __init__(self, model: NumPyModel, has_target: bool = True):
        self.model, self.has_target = model, has_target
        extractor = [] if model.features_extractor is None else model.features_extractor.trainable_variables
        numbers = {id(variable): number for number, variable in enumerate(extractor)}
        self.names = [
            f"features/{numbers[id(variable)]}_{variable.name}"
            if id(variable) in numbers
            else "/".join(variable.path.split("/")[-2:])  # layer and weight, without the name scopes they were made in
            for variable in model.trainable_variables
        ]
        shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self._layout = FlatLayout(dict(zip(self.names, shapes, strict=True)))
        self.size = self._layout.size

    def initial(self) -> Array:
        """Returns the model's own weights as one vector, float32 [size]."""
        return self.join([variable.numpy() for variable in self.model.trainable_variables])

    def join(self, weights: Sequence[Array]) -> Array:
        """Returns weight arrays as one vector, float32 [size]."""
        return self._layout.join(dict(zip(self.names, weights, strict=True)))

    def split(self, flat: Any) -> list[Any]:
        """Returns the weights in the vector, each in its shape: views of an array, or tensors of a tensor."""
        return list(self._layout.split(flat).values())

    def __call__(self, flat: tf.Tensor, *inputs: tf.Tensor) -> tf.Tensor:
        """Calls the model with the weights in the vector."""
        return self._called(self.split(flat), self.model.non_trainable_variables, *inputs)

    def in_numpy(self, flat: Array) -> Callable[..., Array]:
        """Returns the model as a NumPy function of its inputs, with the weights in the vector.

        Raises:
            NotImplementedError: The model has no NumPy form (`model.numpy_activation` is None).
        """
        return partial(self.model.numpy_call, self.split(flat))

    def frozen(self, flat: Array) -> Callable[..., tf.Tensor]:
        """Returns the model as a function of its inputs, with the weights in the vector and all others as constants."""
        weights = self.split(flat), [variable.numpy() for variable in self.model.non_trainable_variables]
        return partial(self._called, *weights)

    def _called(self, weights: Sequence[Any], others: Sequence[Any], *inputs: tf.Tensor) -> tf.Tensor:
        with own_keras_settings():
            return self.model.stateless_call(weights, others, *inputs)[0]
