"""Keras's and TensorFlow's process-wide settings, which other code of the same program may have changed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import keras
import tensorflow as tf

_TURN = threading.RLock()


@contextlib.contextmanager
def own_keras_settings() -> Iterator[None]:
    """The settings that networks are made and traced under: float32 throughout, images with their channels last.

    What was set before is set again at the end. One thread at a time has them: they are the whole process's.
    """
    config = keras.config
    with _TURN:
        floatx, policy, image_format = config.floatx(), config.dtype_policy(), config.image_data_format()
        config.set_floatx("float32")
        config.set_dtype_policy("float32")
        config.set_image_data_format("channels_last")
        try:
            yield
        finally:
            config.set_floatx(floatx)
            config.set_dtype_policy(policy)
            config.set_image_data_format(image_format)


def check_tensorflow() -> None:
    """Refuses to work where TensorFlow does not behave as version 2 does by default.

    Raises:
        RuntimeError: Eager execution is off here, or a behaviour of version 1 or of NumPy has been chosen that neither
            Keras nor the agents' updates work with.
    """
    if not tf.executing_eagerly():
        raise RuntimeError(
            "agents need TensorFlow's eager execution, which is off here: make and use them outside of "
            "tf.Graph().as_default() and tf.function, and without tf.compat.v1.disable_eager_execution() and "
            "tf.compat.v1.disable_v2_behavior()"
        )
    number = tf.constant([0])
    if not isinstance(number.shape[0], int) or isinstance(number == number, bool):
        raise RuntimeError(
            "agents need the shapes and the equality of TensorFlow 2: make and use them without "
            "tf.compat.v1.disable_v2_tensorshape() and tf.compat.v1.disable_tensor_equality()"
        )
    try:
        number[:, None]
    except TypeError as error:  # TensorFlow itself cannot do it then
        raise RuntimeError(
            "agents need TensorFlow's default conversion of dtypes: make and use them without "
            'tf.experimental.numpy.experimental_enable_numpy_behavior(dtype_conversion_mode="all" or "safe")'
        ) from error


def set_global_seeds(seed: int) -> None:
    """Seeds Python's, NumPy's and TensorFlow's global generators."""
    keras.utils.set_random_seed(seed)
