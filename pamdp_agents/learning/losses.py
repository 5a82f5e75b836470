"""Losses and what is logged of them: small pure functions on batches."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def huber(error: tf.Tensor) -> tf.Tensor:
    """Returns half the square up to 1, linear beyond it."""
    size = tf.abs(error)
    return tf.where(size <= 1.0, 0.5 * tf.square(error), size - 0.5)


def fractions(condition: tf.Tensor) -> tf.Tensor:
    """Returns the fraction of true elements in each row; 0 of none."""
    return tf.reduce_sum(tf.cast(condition, tf.float32), 1) / max(condition.shape[1], 1)


LOSSES: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {"mse": tf.square, "huber": huber}
"""The losses of an error, each for itself, by name."""
