"""What an update changes and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from pamdp_agents.experience.transition import Batch


class NetworkState(NamedTuple):
    """One network's weights, its target's, and Adam's moments of them; each a flat float32 vector of the same size."""

    weights: Any
    target: Any
    first_moment: Any
    second_moment: Any


class TrainState(NamedTuple):
    """All that an update changes.

    Attributes:
        networks: The state of each network, by name.
        step: Number of updates made, a float32 scalar (exact up to 2²⁴, where Adam's correction is long 1).
    """

    networks: dict[str, NetworkState]
    step: Any


Metrics = dict[str, tf.Tensor]

Rates = dict[str, tf.Tensor]
"""The learning rates of a call, float32 scalars by name; they may change from call to call."""

Update = Callable[[TrainState, Batch, Rates], tuple[TrainState, Metrics]]
