"""Observations and parameters translated in TensorFlow, for exported policies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces


def flatten(leaf: spaces.Space[Any], values: tf.Tensor) -> tf.Tensor:
    """Returns n values of a leaf as rows [n, d]."""
    if isinstance(leaf, spaces.Discrete):
        return tf.one_hot(tf.cast(values, tf.int64) - int(leaf.start), int(leaf.n))
    rows = values if len(leaf.shape or ()) == 1 else tf.reshape(values, (-1, math.prod(leaf.shape or ())))
    if isinstance(leaf, spaces.MultiDiscrete):
        indices, counts = tf.cast(rows, tf.int64) - leaf.start.ravel().astype(np.int64), leaf.nvec.ravel().tolist()
        return tf.concat([tf.one_hot(indices[:, i], count) for i, count in enumerate(counts)], 1)
    return rows


def round_inward(low: np.ndarray, high: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Bounds in another dtype, rounded to the inside: the environment may refuse a value that is a rounding outside."""
    with np.errstate(all="ignore"):  # next to 0 are the smallest numbers there are
        lowest, highest = low.astype(dtype), high.astype(dtype)
        lowest = np.where(lowest < low, np.nextafter(lowest, dtype.type(np.inf)), lowest)
        return lowest, np.where(highest > high, np.nextafter(highest, dtype.type(-np.inf)), highest)
