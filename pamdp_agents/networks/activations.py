"""Activations: Keras's, their NumPy forms, and the same functions' names in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pamdp_agents.checks import check_range

Array = np.ndarray

NUMPY_ACTIVATIONS: dict[Callable, Callable[[Array], Array]] = {
    keras.activations.relu: lambda h: np.maximum(h, 0, out=h),
    keras.activations.leaky_relu: lambda h: np.maximum(h, np.float32(0.2) * h, out=h),
    keras.activations.tanh: lambda h: np.tanh(h, out=h),
    keras.activations.elu: lambda h: np.where(h > 0, h, np.expm1(np.minimum(h, 0))),
    keras.activations.sigmoid: lambda h: 1 / (1 + np.exp(-np.maximum(h, -88))),  # float32 ends before exp(89)
    keras.activations.linear: lambda h: h,
}

# Stable-Baselines3's policies take classes of `torch.nn`. These are the same functions in Keras, with both defaults.
TORCH_ACTIVATIONS = {
    **{name: name.lower() for name in ("ReLU", "Tanh", "ELU", "SELU", "GELU", "SiLU", "Sigmoid", "Softplus", "Mish")},
    "Identity": "linear",
}


class LeakyReLU:
    """Leaky ReLU of any slope: `activation_fn={"name": "leaky_relu", "negative_slope": 0.01}`.

    Args:
        negative_slope: The slope below 0, in [0, 1].
    """

    def __init__(self, negative_slope: float = 0.2):
        self.negative_slope = float(check_range("negative_slope", negative_slope, at_least=0, to=1))

    def __call__(self, h: tf.Tensor) -> tf.Tensor:
        """Returns h where it is above 0, negative_slope·h elsewhere."""
        return tf.nn.leaky_relu(h, self.negative_slope)

    def numpy(self, h: Array) -> Array:
        """Returns the same in NumPy, in place."""
        return np.maximum(h, np.float32(self.negative_slope) * h, out=h)


def get_activation(activation_fn: str | Mapping[str, Any] | Callable) -> Callable:
    """Returns the function of a Keras name or of a PyTorch class, a leaky ReLU of a configuration, or what was given.

    Raises:
        TypeError: It is none of these.
        ValueError: It is a class of `torch.nn` that is not known here.
    """
    config = dict(activation_fn) if isinstance(activation_fn, Mapping) else {}
    if config.keys() == {"name", "negative_slope"} and config["name"] == "leaky_relu":
        return LeakyReLU(config["negative_slope"])
    if not isinstance(activation_fn, str) and not callable(activation_fn):
        raise TypeError(
            "activation_fn must be the name of a Keras activation, a function, or "
            f'{{"name": "leaky_relu", "negative_slope": a number}}, got {activation_fn!r}'
        )
    return keras.activations.get(keras_name(activation_fn))


def keras_name(activation_fn: Any) -> Any:
    """Returns the Keras name of an activation class of `torch.nn`; anything else as it is.

    Raises:
        ValueError: It is a class of `torch.nn` for which Keras has no function that does the same by default.
    """
    if not (isinstance(activation_fn, type) and activation_fn.__module__.startswith("torch.nn.")):
        return activation_fn
    if activation_fn.__name__ not in TORCH_ACTIVATIONS:
        raise ValueError(
            f"activation_fn: of torch.nn, {', '.join(TORCH_ACTIVATIONS)} are known, got {activation_fn.__name__}; "
            "pass the name of a Keras activation, or a function"
        )
    return TORCH_ACTIVATIONS[activation_fn.__name__]


def numpy_activation(activation: Callable) -> Callable[[Array], Array] | None:
    """Returns an activation's NumPy form, or None."""
    if isinstance(activation, LeakyReLU):
        return activation.numpy
    return next((numpy for function, numpy in NUMPY_ACTIVATIONS.items() if function is activation), None)
