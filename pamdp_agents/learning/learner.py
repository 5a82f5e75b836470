"""The learner: the training state of an agent in one flat tensor, and the compiled calls that change it.

An algorithm's update is a pure function `(TrainState, batch, Call) → Result` that reads like its paper. The `Learner`
keeps the whole state in a single flat tensor, because every tensor, variable or array that goes into or comes out of a
compiled call costs more than the arithmetic of a small network, and runs several updates in a row inside one call.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from pamdp_agents.learning.compiled_update import CompiledUpdate
from pamdp_agents.learning.divergence import LARGEST, DivergedError
from pamdp_agents.learning.flat import FlatLayout
from pamdp_agents.learning.train_state import Call, NetworkState, TrainState, UpdateRule

SEEDS = 2**24  # float32 holds all smaller integers
BLOCK = 10_000  # of more numbers, BLAS makes a product in several threads, which take longer to start


class TrainableNetwork(Protocol):
    """What a learner asks of a network.

    Attributes:
        size: Number of trainable weights.
        has_target: Whether it has a target network.
        names: Names of its weights.
    """

    size: int
    has_target: bool
    names: list[str]

    def initial(self) -> np.ndarray:
        """Returns its first weights, float32 [size]."""

    def split(self, flat: Any) -> list[Any]:
        """Returns the weights in a flat vector, each in its shape."""

    def join(self, weights: Sequence[np.ndarray]) -> np.ndarray:
        """Returns weights as one vector, float32 [size]."""


class _CallKind(NamedTuple):
    """What a compiled call depends on: the rule, the rows' shape, and whether it makes fewer updates at times."""

    rule: str
    shape: tuple[int, ...]
    varying: bool


class Learner:
    """The training state of an agent and its compiled updates.

    Args:
        networks: The networks, by name, as the updates know them.
        rules: The kinds of update, by name.
        numbers: What else the updates change: first values, float32 of any shape, by name.
        device: TensorFlow device to run on, or None for TensorFlow's choice.

    Attributes:
        networks: As given.
        rules: As given.
        state: The flat training state, float32 [size]: a tensor, or an array while a `JointLearner` has it.
        joined: Whether a `JointLearner` makes the updates now.
        traces: How many times an update has been traced: once for each shape of batch, and of joint batches.
    """

    def __init__(
        self,
        networks: Mapping[str, TrainableNetwork],
        rules: Mapping[str, UpdateRule],
        numbers: Mapping[str, np.ndarray] | None = None,
        device: str | None = None,
    ):
        self.networks, self.rules = dict(networks), dict(rules)
        self.state: tf.Tensor = None
        self.joined = False
        self.traces = 0
        self._device = device
        self._compiled: dict[_CallKind, tuple[CompiledUpdate, FlatLayout]] = {}
        self._jointly_compiled: dict[tuple[int, _CallKind], CompiledUpdate] = {}
        numbers = dict(numbers or {})
        shapes: dict[str, tuple[int, ...]] = {}
        for name, network in self.networks.items():
            vectors = dict.fromkeys(NetworkState._fields[:-1], network.size) | {
                "target": network.size * network.has_target
            }
            shapes |= {f"{name}/{part}": (size,) for part, size in vectors.items()}
            shapes[f"{name}/updates"] = ()
        self._numbers = tuple(numbers)
        self._layout = FlatLayout(shapes | {f"/{name}": np.shape(value) for name, value in numbers.items()})
        self._blocks = [slice(i, i + BLOCK) for i in range(0, self._layout.size, BLOCK)]
        self.load(TrainState({name: _initial(network) for name, network in self.networks.items()}, numbers))

    def train(
        self,
        rows: np.ndarray,
        inputs: Mapping[str, float],
        seed: tuple[int, int] = (0, 0),
        most: int | None = None,
        rule: str = "update",
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Makes one update for each batch, all in one compiled call. Each number of batches is compiled once.

        Args:
            rows: Packed transitions, float32 [updates, batch size, row size].
            inputs: The rule's inputs, by name.
            seed: Seed of the first update, two integers in [0, `SEEDS`); the second is counted up for the others.
            most: The most updates of any call, if their number varies from call to call: then one compiled function
                serves all of them.
            rule: Name of the rule.

        Returns:
            The metrics' means over the updates, in the order of the rule's, float32 [len(metrics)]; and the priorities
            [updates, batch size] (rows beyond the updates made are 0), or None if the rule gives none.

        Raises:
            DivergedError: The new state or a metric is not finite; it says which. The state is that of before.
        """
        kind = _CallKind(rule, rows.shape if most is None else (most, *rows.shape[1:]), most is not None)
        compiled, layout = self._compiled.get(kind) or self._compile(kind)
        packed = compiled.packed
        packed[: rows.size] = rows.reshape(-1)
        packed[layout.places["rows"].stop :] = [*(inputs[name] for name in self.rules[rule].inputs), len(rows), *seed]
        with self.placed():
            state = tf.constant(self.state) if isinstance(self.state, np.ndarray) else self.state
            state, metrics, *priorities = compiled(state)
        # Reading waits for the call where TensorFlow runs asynchronously: the next one's input is in the same memory.
        if wrong := self.find_divergence(np.asarray(memoryview(state)), memoryview(metrics), rule):
            raise DivergedError(wrong)
        self.state = state
        return metrics, (priorities[0] if priorities else None)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns each network's flat weights, float32 [size]: read-only views of the state, which is never changed."""
        state = np.asarray(memoryview(self.state))  # unlike .numpy(), no copy
        return {name: state[self._layout.places[f"{name}/weights"]] for name in self.networks}

    def find_divergence(self, state: np.ndarray, metrics: Any, rule: str = "update") -> str:
        """Returns what is not finite of what a call gave, metrics and parts of the state; empty if nothing is.

        Args:
            state: The flat state, float32 [size].
            metrics: A sequence of the rule's metrics.
            rule: Name of the rule.
        """
        # Made after each call, so the quickest way to say that nothing is wrong.
        try:
            squares = sum(state[block].dot(state[block]) for block in self._blocks)
        except (FloatingPointError, RuntimeWarning):  # where NumPy or Python shall raise these
            squares = math.inf
        if squares <= LARGEST**2 and math.isfinite(sum(metrics)):
            return ""
        given = zip(self.rules[rule].metrics, map(float, metrics), strict=True)
        wrong = [f"{name} is {value}" for name, value in given if not math.isfinite(value)]
        for name, place in self._layout.places.items():
            if not np.isfinite(state[place]).all():
                wrong.append(f"{name} are not all finite")
            elif name.endswith("/weights") and np.abs(state[place]).max(initial=0.0) > LARGEST:
                wrong.append(f"{name} are as large as {np.abs(state[place]).max():g}")
        return "; ".join(wrong)

    def unload(self) -> TrainState:
        """Returns the training state as NumPy arrays."""
        return self._take_apart(np.array(self.state))

    def load(self, state: TrainState) -> None:
        """Replaces the training state by another of the same sizes."""
        with self.placed():
            self.state = tf.constant(self._put_together(state))

    def forget_compiled(self) -> None:
        """Lets go of all compiled calls: what the rules compute has changed.

        Raises:
            ValueError: A `JointLearner` makes the updates, whose compiled call it would not be.
        """
        if self.joined:
            raise ValueError("what updates compute, as with action masks, cannot change in joint training")
        self._compiled.clear()
        self._jointly_compiled.clear()

    def placed(self) -> contextlib.AbstractContextManager:
        """Returns the context in which TensorFlow uses the learner's device."""
        return tf.device(self._device) if self._device else contextlib.nullcontext()

    def call_layout(self, rule: str, shape: tuple[int, ...]) -> FlatLayout:
        """Returns how the input of a compiled call is packed.

        Args:
            rule: Name of the rule.
            shape: Shape of the rows, [updates, batch size, row size].
        """
        inputs: dict[str, tuple[int, ...]] = dict.fromkeys(self.rules[rule].inputs, ())
        # Rows first, for there they are aligned; what follows them is in the order in which `train` writes it.
        return FlatLayout({"rows": shape} | inputs | {"updates": (), "seed": (2,)})

    def compile_jointly(self, learners: int, shape: tuple[int, ...], rule: str = "update") -> CompiledUpdate:
        """Returns the compiled update of several learners, one after the other, with a packed input of its own.

        That takes less time than a vectorised update: matrices this small are multiplied faster one by one. Each number
        of learners and each shape is compiled once.

        Args:
            learners: Their number.
            shape: Shape of one learner's rows, [updates, batch size, row size].
            rule: Name of the rule.
        """
        # As if the number of updates varied: then the weights are a loop's own, which XLA multiplies faster by than by
        # slices of the joint state.
        kind = _CallKind(rule, shape, varying=True)
        if (learners, kind) in self._jointly_compiled:
            return self._jointly_compiled[learners, kind].twin()
        outputs = (tf.float32,) * (3 if self.rules[rule].gives_priorities else 2)

        def run(flats: tf.Tensor, packed: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tf.map_fn(
                lambda each: self._run(each[0], each[1], kind), (flats, packed), fn_output_signature=outputs
            )

        size = self.call_layout(rule, shape).size
        compiled = CompiledUpdate(run, (learners, self._layout.size), (learners, size))
        self._jointly_compiled[learners, kind] = compiled
        return compiled.twin()

    def trace(self, batch_size: int, rule: str = "update") -> Any:
        """Returns one update as TensorFlow's concrete function of the state and the packed input, not compiled."""
        kind = _CallKind(rule, (1, batch_size, self.rules[rule].row_size), varying=False)
        sizes = self._layout.size, self.call_layout(rule, kind.shape).size
        function = tf.function(partial(self._run, kind=kind), autograph=False)
        return function.get_concrete_function(*(tf.TensorSpec((size,)) for size in sizes))

    def _compile(self, kind: _CallKind) -> tuple[CompiledUpdate, FlatLayout]:
        layout = self.call_layout(kind.rule, kind.shape)
        compiled = CompiledUpdate(
            lambda flat, packed: self._run(flat, packed, kind), (self._layout.size,), (layout.size,)
        )
        self._compiled[kind] = compiled, layout
        return self._compiled[kind]

    def _run(self, flat: tf.Tensor, packed: tf.Tensor, kind: _CallKind) -> tuple[tf.Tensor, ...]:
        self.traces += 1
        rule = self.rules[kind.rule]
        given = self.call_layout(kind.rule, kind.shape).split(packed)
        inputs, rows = {name: given[name] for name in rule.inputs}, given["rows"]
        updates = tf.cast(given["updates"], tf.int32) if kind.varying else kind.shape[0]
        first_seed = tf.cast(given["seed"], tf.int32)

        def body(i: tf.Tensor, state: TrainState, totals: Any, priorities: Any) -> tuple[Any, ...]:
            call = Call(inputs, first_seed + tf.stack([0, i]))
            result = rule.update(state, rule.read(rows[i]), call)
            # One mean of all, for each costs as much as one.
            metrics = tf.stack([result.metrics[name] for name in rule.metrics])
            if rule.gives_priorities:
                priorities = tf.tensor_scatter_nd_update(priorities, [[i]], [result.priorities])
            return i + 1, result.state, totals + tf.reduce_mean(metrics, 1), priorities

        none = tf.zeros(kind.shape[:2]) if rule.gives_priorities else ()
        start = (0, self._take_apart(flat), tf.zeros(len(rule.metrics)), none)
        if kind.shape[0] == 1 and not kind.varying:
            _, state, totals, priorities = body(*start)
        else:
            _, state, totals, priorities = tf.while_loop(lambda i, *_: i < updates, body, start)
        outputs = self._put_together(state), totals / tf.cast(updates, tf.float32)
        return (*outputs, priorities) if rule.gives_priorities else outputs

    def _take_apart(self, flat: Any) -> TrainState:
        parts = self._layout.split(flat)
        networks = {
            name: NetworkState(*(parts[f"{name}/{part}"] for part in NetworkState._fields)) for name in self.networks
        }
        return TrainState(networks, {name: parts[f"/{name}"] for name in self._numbers})

    def _put_together(self, state: TrainState) -> Any:
        parts = {
            f"{name}/{part}": value for name in self.networks for part, value in state.networks[name]._asdict().items()
        }
        return self._layout.join(parts | {f"/{name}": state.numbers[name] for name in self._numbers})


def _initial(network: TrainableNetwork) -> NetworkState:
    weights = network.initial()
    zeros, target = np.zeros_like(weights), weights if network.has_target else weights[:0]
    return NetworkState(weights, target, zeros, zeros, np.float32(0))
