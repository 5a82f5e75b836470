"""The learner: a training state, the pieces of an update, and the one compiled call that runs it.

An algorithm's update is a pure function `(TrainState, Batch, Rates) → (TrainState, metrics)` that reads like its
paper. The `Learner` keeps the whole state in a single flat tensor, because every tensor, variable or array that
goes into or comes out of a compiled call costs more than the arithmetic of a small network, and runs several updates
in a row inside one call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pamdp_agents.experience.transition import TransitionLayout
from pamdp_agents.learning.compiled_update import CompiledUpdate
from pamdp_agents.learning.train_state import NetworkState, TrainState, Update
from pamdp_agents.networks.models import FlatNetwork


class Learner:
    """The training state of an agent and its compiled update.

    Args:
        networks: The networks, by name, as the update knows them.
        update: The algorithm's update.
        metric_names: Names of the metrics it returns.
        rate_names: Names of the learning rates it takes.
        layout: How a transition is packed.
        device: TensorFlow device to run on, or None for TensorFlow's choice.

    Attributes:
        state: The flat training state, float32 [size]: a tensor, or an array while a
            `JointLearner` has it.
        traces: How many times the update has been traced: once for each shape of batch, and of joint batches.
    """

    def __init__(
        self,
        networks: Mapping[str, FlatNetwork],
        update: Update,
        metric_names: Sequence[str],
        rate_names: Sequence[str],
        layout: TransitionLayout,
        device: str | None = None,
    ):
        self.networks, self.metric_names, self.rate_names = dict(networks), tuple(metric_names), tuple(rate_names)
        self.state: tf.Tensor = None
        self.traces = 0
        self._update, self._layout, self._device = update, layout, device
        self._compiled: dict[tuple[tuple[int, ...], bool], CompiledUpdate] = {}
        self._jointly_compiled: dict[tuple[int, tuple[int, ...]], CompiledUpdate] = {}
        self._sections: dict[tuple[str, str], slice] = {}
        end = 0
        for name, network in self.networks.items():
            for part in NetworkState._fields:
                self._sections[name, part] = slice(end, end + network.size)
                end += network.size
        self._size = end + 1
        initial = {name: network.initial() for name, network in self.networks.items()}
        self.load(
            TrainState(
                {n: NetworkState(w, w, np.zeros_like(w), np.zeros_like(w)) for n, w in initial.items()},
                np.float32(0),
            )
        )

    def train(self, rows: np.ndarray, rates: Mapping[str, float], most: int | None = None) -> tf.Tensor:
        """Makes one update for each batch, all in one compiled call. Each number of batches is compiled once.

        Args:
            rows: Packed transitions, float32 [updates, batch size, row size].
            rates: The learning rates, by name.
            most: The most updates of any call, if their number varies from call to call: then one compiled function
                serves all of them.

        Returns:
            The metrics' means over the updates, in the order of `metric_names`, float32 [len(metric_names)].
        """
        varying = most is not None
        header = [*(rates[name] for name in self.rate_names), *([len(rows)] if varying else [])]
        shape = rows.shape if most is None else (most, *rows.shape[1:])
        compiled = self._compiled.get((shape, varying)) or self._compile(shape, varying)
        memoryview(self.state)  # waits for the last call where TensorFlow runs asynchronously: it reads the same memory
        compiled.packed[: len(header)] = header
        compiled.packed[len(header) : len(header) + rows.size] = rows.reshape(-1)
        with self.placed():
            state = tf.constant(self.state) if isinstance(self.state, np.ndarray) else self.state
            self.state, metrics = compiled(state)
        return metrics

    def weights(self) -> dict[str, np.ndarray]:
        """Returns each network's flat weights, float32 [size]: read-only views of the state, which is never changed."""
        state = np.asarray(memoryview(self.state))  # unlike .numpy(), no copy
        return {name: state[self._sections[name, "weights"]] for name in self.networks}

    def unload(self) -> TrainState:
        """Returns the training state as NumPy arrays."""
        return self._take_apart(np.array(self.state))

    def load(self, state: TrainState) -> None:
        """Replaces the training state by another of the same sizes."""
        with self.placed():
            self.state = tf.constant(self._put_together(state, np.concatenate))

    def placed(self) -> contextlib.AbstractContextManager:
        """Returns the context in which TensorFlow uses the learner's device."""
        return tf.device(self._device) if self._device else contextlib.nullcontext()

    def compile_jointly(self, learners: int, shape: tuple[int, ...]) -> CompiledUpdate:
        """Returns the compiled update of several learners, one after the other, with a packed input of its own.

        That takes less time than a vectorised update: matrices this small are multiplied faster one by one. Each number
        of learners and each shape is compiled once.

        Args:
            learners: Their number.
            shape: Shape of one learner's rows, [updates, batch size, row size].
        """
        if (learners, shape) in self._jointly_compiled:
            return self._jointly_compiled[learners, shape].twin()

        def run(flats: tf.Tensor, packed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # As if the number of updates varied: then the weights are a loop's own, which XLA multiplies faster by than
            # by slices of the joint state.
            return tf.map_fn(
                lambda each: self._run(each[0], each[1], shape, varying=True),
                (flats, packed),
                fn_output_signature=(tf.float32, tf.float32),
            )

        packed_size = len(self.rate_names) + 1 + int(np.prod(shape))
        compiled = CompiledUpdate(run, (learners, self._size), (learners, packed_size))
        self._jointly_compiled[learners, shape] = compiled
        return compiled.twin()

    def _compile(self, shape: tuple[int, ...], varying: bool) -> CompiledUpdate:
        packed_size = len(self.rate_names) + varying + int(np.prod(shape))
        compiled = CompiledUpdate(
            lambda flat, packed: self._run(flat, packed, shape, varying), (self._size,), (packed_size,)
        )
        self._compiled[shape, varying] = compiled
        return compiled

    def _run(
        self, flat: tf.Tensor, packed: tf.Tensor, shape: tuple[int, ...], varying: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        self.traces += 1
        n_rates = len(self.rate_names)
        rates = {name: packed[i] for i, name in enumerate(self.rate_names)}
        updates = tf.cast(packed[n_rates], tf.int32) if varying else shape[0]
        rows = tf.reshape(packed[n_rates + varying :], shape)

        def body(i: tf.Tensor, state: TrainState, total: tf.Tensor) -> tuple[tf.Tensor, TrainState, tf.Tensor]:
            batch = self._layout.split(rows[i])
            state, metrics = self._update(state, batch._replace(k=tf.cast(batch.k, tf.int32)), rates)
            return i + 1, state, total + tf.stack([metrics[name] for name in self.metric_names])

        start = (0, self._take_apart(flat), tf.zeros(len(self.metric_names)))
        if shape[0] == 1 and not varying:
            _, state, total = body(*start)
        else:
            _, state, total = tf.while_loop(lambda i, *_: i < updates, body, start)
        return self._put_together(state, tf.concat), total / tf.cast(updates, tf.float32)

    def _take_apart(self, flat: Any) -> TrainState:
        networks = {
            name: NetworkState(*(flat[self._sections[name, part]] for part in NetworkState._fields))
            for name in self.networks
        }
        return TrainState(networks, flat[-1])

    def _put_together(self, state: TrainState, concatenate: Callable) -> Any:
        parts = [part for name in self.networks for part in state.networks[name]]
        return concatenate([*parts, state.step[None]], 0)
