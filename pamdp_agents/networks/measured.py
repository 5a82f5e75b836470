"""How large a features extractor would be, without making it: a few bytes can describe one of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from pamdp_agents.networks.features import FeaturesExtractor
from pamdp_agents.networks.keras_configs import PLAIN
from pamdp_agents.networks.keras_settings import own_keras_settings


class Measured(NamedTuple):
    """How large a features extractor is.

    Attributes:
        weights: How many weights it has.
        numbers: How many numbers are computed to make it and to try it.
        features: How many features it returns.
    """

    weights: int
    numbers: int
    features: int


def count_classes(config: Any) -> int:
    """Returns how many classes the configuration of a Keras model names, without those of plain values."""
    if isinstance(config, Mapping):
        is_class = "class_name" in config and config["class_name"] not in PLAIN
        return is_class + sum(map(count_classes, config.values()))
    return sum(map(count_classes, config)) if isinstance(config, list | tuple) else 0


@own_keras_settings()
def measure(make: Callable[[], FeaturesExtractor | None]) -> Measured | None:
    """Returns how large the features extractor is that a function makes; None if it makes none.

    It is made in a graph of its own, where weights are no more than their shapes and nothing is ever computed.

    Raises:
        Exception: Of any kind, as the function does.
    """
    with tf.Graph().as_default() as graph:
        extractor = make()
    if extractor is None:
        return None
    weights = sum(math.prod(variable.shape) for variable in extractor.weights)
    outputs = (output for operation in graph.get_operations() for output in operation.outputs)
    return Measured(weights, sum(output.shape.num_elements() or 0 for output in outputs), extractor.n_features)
