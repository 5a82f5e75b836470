"""Features extractors: Keras models between the observation and a network's Dense layers, and what each policy has.

The agent's networks get observations as flat vectors. `FeaturesExtractor` gives them their shapes back and calls
a Keras model: the policy's, or one of the user's own.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import keras
import tensorflow as tf

from pamdp_agents.checks import check_integer
from pamdp_agents.networks import keras_configs
from pamdp_agents.networks.keras_settings import own_keras_settings
from pamdp_agents.spaces import nested
from pamdp_agents.spaces.observations import ObservationTransform, is_image_space

OWN = 'hand in a Keras model of your own with policy_kwargs={"features_extractor": model}'


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image's shape is [channels, height, width], not [height, width, channels]: the channels are fewest."""
    smallest = shape.index(min(shape))
    if smallest == 1:
        warnings.warn(
            f"images of shape {shape} are taken for [height, width, channels], though the second axis is the shortest",
            stacklevel=2,
        )
    return smallest == 0


@own_keras_settings()
def NatureCNN(observation_space: gym.Space, features_dim: int = 512, normalized_image: bool = False) -> keras.Model:
    """Returns the convolutional network of the DQN paper: the features extractor of `"CnnPolicy"`.

    Convolutions of 32 8×8 kernels with stride 4, 64 4×4 with stride 2 and 64 3×3 with stride 1, then one Dense layer;
    all with ReLU. It takes images as they are, [n, height, width, channels] or [n, channels, height, width].

    Args:
        observation_space: A space of images, as `is_image_space` says.
        features_dim: Number of features.
        normalized_image: Take any Box of three axes for images.

    Raises:
        ValueError: The space is not one of images, or they are smaller than 36×36.

    References:
        Mnih et al. 2015, "Human-level control through deep reinforcement learning", Nature 518, Methods.
    """
    features_dim = check_integer("features_dim", features_dim, 1)
    if not is_image_space(observation_space, normalized_image):
        raise ValueError(
            "CnnPolicy (NatureCNN) needs observations that are images, a Box of uint8 from 0 to 255 with three axes "
            "(with normalize_images=False of any numbers), "
            f'got {observation_space}; use "MlpPolicy", "MultiInputPolicy" for a Dict with images, or {OWN}'
        )
    assert observation_space.shape is not None
    shape = observation_space.shape
    channels_first = is_channels_first(shape)
    height, width = shape[1:] if channels_first else shape[:2]
    if min(height, width) < 36:
        raise ValueError(
            f"NatureCNN needs images of at least 36×36 pixels, got {height}×{width} (height×width); for these, {OWN}"
        )
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input(shape, name="image"),
            # TensorFlow convolves on the CPU only with the channels last.
            *([layers.Permute((2, 3, 1), name="channels_last")] if channels_first else []),
            layers.Conv2D(32, 8, 4, activation="relu", kernel_initializer="he_normal", name="convolution_0"),
            layers.Conv2D(64, 4, 2, activation="relu", kernel_initializer="he_normal", name="convolution_1"),
            layers.Conv2D(64, 3, 1, activation="relu", kernel_initializer="he_normal", name="convolution_2"),
            layers.Flatten(name="flatten"),
            layers.Dense(features_dim, activation="relu", kernel_initializer="he_normal", name="features"),
        ],
        name="nature_cnn",
    )


@own_keras_settings()
def CombinedExtractor(
    observation_space: gym.Space, cnn_output_dim: int = 256, normalized_image: bool = False
) -> keras.Model:
    """Returns the features extractor of `"MultiInputPolicy"`: images through a CNN, all else as it is, side by side.

    Args:
        observation_space: A Dict or Tuple, nested or not. Its images are what `is_image_space` says.
        cnn_output_dim: Number of features of each image.
        normalized_image: Take every Box of three axes for an image.

    Raises:
        ValueError: It is another space, or an image is smaller than 36×36.
    """
    if nested.parts(observation_space) is None:
        raise ValueError(
            f"MultiInputPolicy (CombinedExtractor) needs a Dict or Tuple of observations, got {observation_space}; use "
            f'"MlpPolicy", "CnnPolicy" for images, or {OWN}'
        )
    leaves = nested.leaves(observation_space)
    inputs, outputs = [], []
    shapes = ObservationTransform(observation_space).shapes
    for i, ((path, leaf), shape) in enumerate(zip(leaves, shapes, strict=True)):
        name = path.removeprefix("['").removesuffix("']").replace("/", "_")  # "image" for ['image'], as Keras wishes
        inputs.append(keras.Input(shape, name=name))
        if is_image_space(leaf, normalized_image):
            layer = NatureCNN(leaf, cnn_output_dim, normalized_image)
            layer.name = f"cnn_{i}"
        else:
            layer = keras.layers.Flatten(name=f"flatten_{i}")
        outputs.append(layer(inputs[-1]))
    features = keras.layers.Concatenate(name="features")(outputs) if len(outputs) > 1 else outputs[0]
    return keras.Model(nested.assemble(nested.nesting(observation_space), inputs), features, name="combined")


POLICIES: dict[str, Callable[..., keras.Model] | None] = {
    "MlpPolicy": None,
    "CnnPolicy": NatureCNN,
    "MultiInputPolicy": CombinedExtractor,
}


class FeaturesExtractor(keras.layers.Layer):
    """A Keras model of observations as a layer of flat observations.

    Args:
        config: The model's configuration; a new one is made of it, with initial weights of its own.
        observations: How the observations were flattened.

    Attributes:
        n_features: Number of features.

    Raises:
        ValueError: No model can be made of the configuration, it does not take these observations, does not return one
            vector for each, or has weights or losses that the agent's update would leave out.
    """

    def __init__(self, config: dict[str, Any], observations: ObservationTransform):
        super().__init__(name="features_extractor")
        self._shapes, self._nesting = observations.shapes, observations.nesting
        self.model = keras_configs.deserialize(config)
        example = self._unflatten(tf.zeros((2, observations.size)))
        shapes = nested.assemble(self._nesting, [(None, *shape) for shape in self._shapes])
        try:
            features = self.model(example)
        except Exception as error:  # layers of any kind
            raise ValueError(
                f"features_extractor {self.model.name!r} does not take observations of shape {shapes}: {error}"
            ) from error
        if not tf.is_tensor(features) or len(features.shape) != 2 or features.shape[0] != 2:
            raise ValueError(
                f"features_extractor {self.model.name!r} must return one vector of features for each observation, "
                f"[n, features], got {features.shape if tf.is_tensor(features) else type(features)} for n = 2; a "
                "Flatten layer at its end helps"
            )
        if other := [x.dtype for x in (features, *self.model.weights) if tf.as_dtype(x.dtype) != tf.float32]:
            raise ValueError(
                f"features_extractor {self.model.name!r} has weights or features of {tf.as_dtype(other[0]).name}, but "
                'agents compute in float32: make it under keras.config.set_dtype_policy("float32") (without one, the '
                'dtype policy is floatx), or give its layers dtype="float32"'
            )
        self.n_features = features.shape[1]
        self.built = True
        _check_weights(self.model)

    def call(self, observation: tf.Tensor) -> tf.Tensor:
        """Maps flat observations [n, D] to features [n, n_features]."""
        return self.model(self._unflatten(observation))

    def _unflatten(self, observation: tf.Tensor) -> Any:
        parts = tf.split(observation, [math.prod(shape) for shape in self._shapes], axis=1)
        leaves = [tf.reshape(part, (-1, *shape)) for part, shape in zip(parts, self._shapes, strict=True)]
        return nested.assemble(self._nesting, leaves)


def _check_weights(model: keras.Model) -> None:
    """Refuses what would silently do nothing: an update moves trainable weights down the agent's losses, no more."""
    if model.non_trainable_weights:  # without the seeds of random layers, which recurrent layers have too
        raise ValueError(
            f"features_extractor {model.name!r} has {model.non_trainable_weights[0].path}, which is not trained, so "
            "the agent neither updates nor saves it: use LayerNormalization or GroupNormalization in place of "
            "BatchNormalization, and leave all layers trainable"
        )
    if model.losses or any(variable.constraint is not None for variable in model.trainable_weights):
        raise ValueError(
            f"features_extractor {model.name!r} has regularizers, constraints or losses of its own, which the agent's "
            "update does not apply: leave them out"
        )


def make(
    identifier: keras.Model | dict[str, Any] | None,
    policy: str,
    observations: ObservationTransform,
    arguments: Mapping[str, Any] | None = None,
    normalize_images: bool = True,
) -> Callable[[], FeaturesExtractor | None]:
    """Returns the function that makes a network's features extractor, each with weights of its own.

    Args:
        identifier: The user's Keras model or its configuration, or None for the policy's.
        policy: Name of the policy.
        observations: How observations are flattened.
        arguments: Arguments of the policy's own extractor.
        normalize_images: Whether images are scaled; where they are not, the policy's own takes all of three axes.

    Raises:
        TypeError: `identifier` is something else.
        ValueError: The policy is not for this observation space, the model cannot be described, or there are arguments
            that the extractor does not have.
    """
    default = POLICIES[policy] if identifier is None else None
    known = list(inspect.signature(default).parameters)[1:] if default else []
    arguments = dict(arguments or {})
    if default is not None and not normalize_images:
        arguments["normalized_image"] = True
    if unknown := sorted(arguments.keys() - set(known)):
        whose = "a features_extractor of your own" if identifier is not None else policy
        raise ValueError(f"features_extractor_kwargs for {whose} must be among {known}: {unknown} are not")
    if default is not None:
        identifier = default(observations.space, **arguments)
    if identifier is None:
        return lambda: None
    if not isinstance(identifier, keras.Model | dict):
        raise TypeError(
            f"features_extractor must be a Keras model (not a class) or its configuration, got {identifier!r}"
        )
    config = identifier if isinstance(identifier, dict) else keras_configs.serialize(identifier)
    return lambda: FeaturesExtractor(config, observations)
