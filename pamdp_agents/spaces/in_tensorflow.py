"""Observations and parameters translated in TensorFlow, for exported policies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from pamdp_agents.spaces.independent import IndependentActionSpace, Part


def flatten(leaf: spaces.Space[Any], values: tf.Tensor) -> tf.Tensor:
    """Returns n values of a leaf as rows [n, d]."""
    if isinstance(leaf, spaces.Discrete):
        return tf.one_hot(tf.cast(values, tf.int64) - int(leaf.start), int(leaf.n))
    rows = values if len(leaf.shape or ()) == 1 else tf.reshape(values, (-1, math.prod(leaf.shape or ())))
    if isinstance(leaf, spaces.MultiDiscrete):
        indices, counts = tf.cast(rows, tf.int64) - leaf.start.ravel().astype(np.int64), leaf.nvec.ravel().tolist()
        return tf.concat([tf.one_hot(indices[:, i], count) for i, count in enumerate(counts)], 1)
    return rows


def compose_parts(
    actions: IndependentActionSpace, k: tf.Tensor, x: tf.Tensor, working: np.dtype
) -> dict[str, tf.Tensor]:
    """Returns n actions of independent parts, a tensor for each part that holds something, by `output_name`.

    Args:
        actions: Their space.
        k: Choices, int32 [n, C].
        x: Numbers, float32 [n, P].
        working: The type to scale in.
    """
    outputs = {}
    for part in actions.parts:
        shape, own, dtype = part.space.shape or (), part.numbers, part.space.dtype
        if isinstance(part.space, spaces.Box):
            low, high = actions.low[own], actions.high[own]
            values = tf.cast(x[:, own], working) * actions.half[own].astype(working) + actions.middle[own].astype(
                working
            )
            if dtype.kind == "f":
                dtype = min(np.result_type(np.float32, dtype), working)
                low, high = round_inward(low, high, dtype)
            else:  # bounds that are no numbers of the working type are never passed by numbers that are
                values, low, high = tf.round(values), low.astype(working), high.astype(working)
            values = tf.cast(tf.clip_by_value(tf.cast(values, low.dtype), low, high), dtype)
        else:
            values = tf.cast(tf.cast(k[:, part.choices], tf.int64) + part.start, dtype)
        if values.shape[1]:  # TFLite has no tensors of size 0
            outputs[output_name(part)] = values if len(shape) == 1 else tf.reshape(values, (-1, *shape))
    return outputs


def output_name(part: Part) -> str:
    """Returns what the exported policy calls a part of the action."""
    return f"action_{part.name}" if part.path else part.name


def round_inward(low: np.ndarray, high: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Bounds in another dtype, rounded to the inside: the environment may refuse a value that is a rounding outside."""
    with np.errstate(all="ignore"):  # next to 0 are the smallest numbers there are
        lowest, highest = low.astype(dtype), high.astype(dtype)
        lowest = np.where(lowest < low, np.nextafter(lowest, dtype.type(np.inf)), lowest)
        return lowest, np.where(highest > high, np.nextafter(highest, dtype.type(-np.inf)), highest)
