"""Initialisers of weights, from names and configurations that can come from files."""

from __future__ import annotations

from typing import Any, TypeGuard

import keras

from pamdp_agents.networks import keras_configs

Initializer = Any  # a Keras initialiser, its name or its configuration

# PyTorch's default for linear layers, which the published Q-networks' output layer keeps.
UNIFORM_FAN_IN = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
}


def get_initializer(identifier: Initializer) -> keras.Initializer:
    """Returns the Keras initialiser of a name, a configuration `{"class_name": ..., "config": {...}}` or an object.

    Configurations can come from files. So only Keras's own initialisers are looked up in them, where Keras's
    deserialiser would import what the configuration names.
    """
    if isinstance(identifier, dict):
        found = getattr(keras.initializers, str(identifier.get("class_name")), None)
        if identifier.keys() > {"class_name", "config"} or not is_initializer_class(found):
            raise ValueError(
                'an initializer must be a name, an object or {"class_name": one of Keras\'s, "config": {...}}, got '
                f"{identifier!r}"
            )
        keras_configs.check(identifier.get("config"))  # Keras deserialises what is nested in it, such as a seed
        return found(**identifier.get("config", {}))
    return keras.initializers.get(identifier)


def is_initializer_class(found: Any) -> TypeGuard[type[keras.Initializer]]:
    """Whether this is a class of Keras's initialisers."""
    return isinstance(found, type) and issubclass(found, keras.Initializer)


def anywhere_in_bounds() -> keras.Initializer:
    """Returns an initialiser uniform over ±1, the scaled bounds: a new one, for each always gives the same numbers."""
    return keras.initializers.RandomUniform(-1.0, 1.0)
