"""Losses and what is logged of them: small pure functions on batches."""

from __future__ import annotations

import tensorflow as tf


def huber(error: tf.Tensor) -> tf.Tensor:
    """Half the square up to 1, linear beyond it."""
    size = tf.abs(error)
    return tf.where(size <= 1.0, 0.5 * tf.square(error), size - 0.5)


def fractions(condition: tf.Tensor) -> tf.Tensor:
    """The fraction of true elements in each row; 0 of none."""
    return tf.reduce_sum(tf.cast(condition, tf.float32), 1) / max(condition.shape[1], 1)
