"""Named parts of one flat float32 vector: rows of transitions, training states, the input of a compiled call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf


class FlatLayout:
    """Where named parts lie in the last axis of a float32 array or tensor.

    Args:
        shapes: Shape of each part, by name, in their order; `()` is one number, and sizes of 0 are none.

    Attributes:
        shapes: As given.
        places: The slice of each part.
        size: Numbers in all parts.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = dict(shapes)
        self._sizes = [math.prod(shape) for shape in self.shapes.values()]
        ends = np.cumsum([0, *self._sizes]).tolist()
        self.size = ends[-1]
        self.places = {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.shapes)}

    def split(self, flat: Any) -> dict[str, Any]:
        """Returns the parts of an array or tensor [..., size], each [..., *shape]: views of an array."""
        if isinstance(flat, np.ndarray):
            leading = flat.shape[:-1]
            return {name: flat[..., place].reshape(leading + self.shapes[name]) for name, place in self.places.items()}
        if not self.size:
            return {name: tf.zeros(shape) for name, shape in self.shapes.items()}
        # One split: its gradient is one concatenation, where each slice's would be a padded vector.
        parts = tf.split(flat, self._sizes, -1)
        leading = flat.shape[:-1].as_list()
        return {
            name: part if len(shape) == 1 else tf.reshape(part, (*leading, *shape))
            for part, (name, shape) in zip(parts, self.shapes.items(), strict=True)
        }

    def join(self, parts: Mapping[str, Any]) -> Any:
        """Returns parts, each of its shape, as one float32 vector [size]: a tensor if one of them is."""
        if any(isinstance(part, tf.Tensor) for part in parts.values()):
            return tf.concat([tf.reshape(parts[name], (-1,)) for name in self.shapes], 0)
        flat = [np.zeros(0, np.float32), *(np.ravel(parts[name]) for name in self.shapes)]
        return np.concatenate(flat, dtype=np.float32, casting="same_kind")
