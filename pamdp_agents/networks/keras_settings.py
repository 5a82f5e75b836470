"""Keras's and TensorFlow's process-wide settings, which other code of the same program may have changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


@contextlib.contextmanager
def own_keras_settings() -> Iterator[None]:
    """The settings that networks are made and traced under: float32 throughout, images with their channels last.

    What was set before is set again at the end.
    """
    floatx, policy, image_format = keras.config.floatx(), keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(image_format)
