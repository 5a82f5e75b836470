"""`policy_kwargs` as JSON can hold them."""

from __future__ import annotations

from typing import Any

import keras

from pamdp_agents.networks import keras_configs
from pamdp_agents.networks.activations import keras_name
from pamdp_agents.networks.initializers import is_initializer_class


def serialize_policy_kwargs(policy_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Returns `policy_kwargs` for JSON: Keras's objects as configurations, PyTorch's activations as names."""
    return {name: _serialized(value) for name, value in policy_kwargs.items()}


def _serialized(value: Any) -> Any:
    if isinstance(value, keras.Model):
        return keras_configs.serialize(value)
    if is_initializer_class(type(value)) and type(value).__module__.startswith("keras."):
        return {"class_name": type(value).__name__, "config": value.get_config()}
    return keras_name(value)
