"""What an update changes, what it is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


class NetworkState(NamedTuple):
    """One network's training state.

    Attributes:
        weights: Its weights, float32 [size].
        target: Its target network's, float32 [size]; of size 0 for a network without one.
        first_moment: Adam's first moment, float32 [size].
        second_moment: Adam's second moment, float32 [size].
        updates: Adam's count of this network's updates, a float32 scalar (exact up to 2²⁴, where Adam's correction is
            long 1).
    """

    weights: Any
    target: Any
    first_moment: Any
    second_moment: Any
    updates: Any


class TrainState(NamedTuple):
    """All that an update changes.

    Attributes:
        networks: The state of each network, by name.
        numbers: What else is trained or counted, float32 of any shape, by name.
    """

    networks: dict[str, NetworkState]
    numbers: dict[str, Any]


class Call(NamedTuple):
    """What an update is given besides its batch.

    Attributes:
        inputs: The numbers that may change from call to call, float32 scalars by name: learning rates, γ and the like.
        seed: int32 [2], another one in each update; for `tf.random.stateless_*`.
    """

    inputs: dict[str, tf.Tensor]
    seed: tf.Tensor


class Result(NamedTuple):
    """What an update returns.

    Attributes:
        state: The state after it.
        metrics: What is logged, by name, float32 [n], one number for each transition; their means are.
        priorities: Of each transition, float32 [n], where the rule gives them.
    """

    state: TrainState
    metrics: dict[str, tf.Tensor]
    priorities: tf.Tensor | None = None


class UpdateRule(NamedTuple):
    """One kind of update.

    Attributes:
        update: The update, a pure function.
        read: Takes the rows of a batch [n, row_size] apart for the update.
        row_size: Numbers in a row.
        metrics: Names of the metrics it returns, in the order in which they are logged.
        inputs: Names of the numbers that it is given anew in each call.
        gives_priorities: Whether it returns priorities.
    """

    update: Callable[[TrainState, Any, Call], Result]
    read: Callable[[tf.Tensor], Any]
    row_size: int
    metrics: tuple[str, ...]
    inputs: tuple[str, ...]
    gives_priorities: bool = False
