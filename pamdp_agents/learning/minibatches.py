"""Epochs of minibatches over one rollout, all within one compiled call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from pamdp_agents.learning.train_state import TrainState


class Minibatch(NamedTuple):
    """Some rows of a rollout.

    Attributes:
        rows: float32 [batch size, row size].
        present: 1 where a row counts, float32 [batch size]: the last minibatch of an epoch may be smaller.
    """

    rows: tf.Tensor
    present: tf.Tensor

    def mean(self, values: tf.Tensor) -> tf.Tensor:
        """Returns the mean of [batch size, …] over the rows that count."""
        present = tf.reshape(self.present, (-1, *[1] * (len(values.shape) - 1)))
        return tf.reduce_sum(values * present, 0) / tf.reduce_sum(self.present)

    def normalize(self, values: tf.Tensor) -> tf.Tensor:
        """Returns values [batch size] less their mean, over their standard deviation; of one row as they are."""
        count = tf.reduce_sum(self.present)
        centred = values - self.mean(values)
        variance = tf.reduce_sum(tf.square(centred) * self.present) / tf.maximum(count - 1.0, 1.0)
        return tf.where(count > 1.0, centred / (tf.sqrt(variance) + 1e-8), values)


class Step(NamedTuple):
    """What a step on one minibatch gives.

    Attributes:
        state: The state after it.
        metrics: What is logged of it, float32 [metrics].
        stop: Whether the step shall not be made, nor any after it; None: never.
    """

    state: TrainState
    metrics: tf.Tensor
    stop: tf.Tensor | None


class Trained(NamedTuple):
    """What all minibatches gave.

    Attributes:
        state: The state after them.
        mean: The metrics' means over all minibatches, float32 [metrics].
        mean_of_last_epoch: The same over those of the last epoch.
        last: The last minibatch's.
        epochs: Epochs begun, a float32 scalar.
    """

    state: TrainState
    mean: tf.Tensor
    mean_of_last_epoch: tf.Tensor
    last: tf.Tensor
    epochs: tf.Tensor


def train_in_minibatches(
    state: TrainState,
    rows: tf.Tensor,
    orders: tf.Tensor,
    n_present: tf.Tensor,
    batch_size: int,
    n_metrics: int,
    step: Callable[[TrainState, Minibatch], Step],
) -> Trained:
    """Returns what epochs of minibatches make of a state.

    Args:
        state: The state before.
        rows: The rollout, float32 [rows, row size].
        orders: In which order each epoch goes through the rows, int32 [epochs, rows]: first those that count.
        n_present: How many rows count, int32.
        batch_size: Rows of a minibatch; the last of an epoch gets what is left.
        n_metrics: How many numbers `step` gives to be logged.
        step: Makes a step, a pure function.
    """
    n_rows, n_epochs = rows.shape[0], orders.shape[0]
    in_an_epoch = tf.maximum((n_present + batch_size - 1) // batch_size, 1)
    total = tf.where(n_present > 0, n_epochs * in_an_epoch, 0)

    def body(i: tf.Tensor, going: tf.Tensor, state: TrainState, *sums: tf.Tensor) -> tuple[Any, ...]:
        whole, of_epoch, steps_of_epoch, _ = sums
        epoch, number = i // in_an_epoch, i % in_an_epoch
        places = number * batch_size + tf.range(batch_size)
        chosen = tf.gather(tf.gather(orders, epoch), tf.minimum(places, n_rows - 1))
        minibatch = Minibatch(tf.gather(rows, chosen), tf.cast(places < n_present, tf.float32))
        after, metrics, stop = step(state, minibatch)
        if stop is not None:
            after = tf.nest.map_structure(lambda old, new: tf.where(stop, old, new), state, after)
            going = tf.logical_not(stop)
        begins = number == 0
        of_epoch = tf.where(begins, 0.0, of_epoch) + metrics
        steps_of_epoch = tf.where(begins, 0.0, steps_of_epoch) + 1.0
        return i + 1, going, after, whole + metrics, of_epoch, steps_of_epoch, metrics

    zeros = tf.zeros(n_metrics)
    start = (0, True, state, zeros, zeros, 0.0, zeros)
    made, _, state, whole, of_epoch, steps_of_epoch, last = tf.while_loop(
        lambda i, going, *_: tf.logical_and(i < total, going), body, start
    )
    epochs = tf.cast((made + in_an_epoch - 1) // in_an_epoch, tf.float32)
    mean = whole / tf.maximum(tf.cast(made, tf.float32), 1.0)
    return Trained(state, mean, of_epoch / tf.maximum(steps_of_epoch, 1.0), last, epochs)
