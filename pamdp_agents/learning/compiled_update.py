"""One compiled call of TensorFlow, with as little around it as can be."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from pamdp_agents.checks import warn_user

_traced: dict[str, Any] = {}
"""Traced functions by the text of their graphs."""


class CompiledUpdate:
    """A compiled function (state, packed) → (state, metrics, …), called with as little around it as can be.

    Equal functions are one, which is compiled once: TensorFlow keeps whatever XLA has compiled, 12 MB for a small
    update, as long as the program runs. Where XLA cannot compile it, it runs without: TensorFlow's debugging puts
    operations that XLA lacks into functions.

    Args:
        run: The function.
        state_shape: Shape of the state.
        packed_shape: Shape of the packed input.
    """

    def __init__(self, run: Callable, state_shape: tuple[int, ...], packed_shape: tuple[int, ...]):
        self._run, self._state_shape, self._packed_shape = run, state_shape, packed_shape
        self._is_tried = False
        self._trace(with_xla=True)

    def _trace(self, with_xla: bool) -> None:
        function = tf.function(self._run, autograph=False, jit_compile=with_xla)
        specs = tf.TensorSpec(self._state_shape), tf.TensorSpec(self._packed_shape)
        compiled = _shared(function.get_concrete_function(*specs), with_xla)
        # Called below what binds and checks arguments by their signature, which takes another 100 µs. That is not in
        # TensorFlow's documented interface: where a version has it not, the public call does the same.
        self._public, self._captured = compiled, getattr(compiled, "captured_inputs", ())
        self._below = getattr(getattr(compiled, "inference_fn", None), "call_preflattened", None)

    def twin(self) -> CompiledUpdate:
        """Returns the same function for a packed input of its own."""
        twin = copy.copy(self)
        for made in ("packed", "_packed_tensor"):
            vars(twin).pop(made, None)
        return twin

    @cached_property
    def packed(self) -> np.ndarray:
        """The input of the next call, float32: fill it in when the last call's results are there, then call.

        One array, and always the same one, since making a tensor of an array takes 100 µs.
        """
        return _aligned(self._packed_shape)

    @cached_property
    def _packed_tensor(self) -> tf.Tensor:
        return tf.experimental.dlpack.from_dlpack(self.packed.__dlpack__())  # shares its memory

    def __call__(self, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Runs the function on a state and `packed`; returns the new state, the metrics and what else it gives."""
        return self._call(state) if self._is_tried else self._try(state)

    def _try(self, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Makes the first call, with which XLA compiles."""
        try:
            results = self._call(state)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            self._trace(with_xla=False)
            results = self._call(state)  # raises the error again, if it is another one
            warn_user(
                "updates run without XLA, which takes several times as long: it cannot compile them, since "
                "tf.debugging.enable_check_numerics, another of TensorFlow's tools for debugging, or a layer has put "
                f"an operation into them that XLA does not have: {error.message.strip().splitlines()[0]}"
            )
        self._is_tried = True
        return results

    def _call(self, state: tf.Tensor) -> tuple[tf.Tensor, ...]:
        if self._below is None:
            return self._public(state, self._packed_tensor)
        return self._below([state, self._packed_tensor, *self._captured])


def _shared(traced: Any, with_xla: bool) -> Any:
    """Returns the first of all traced functions that have the same graph as this one, and are compiled as it is."""
    if traced.captured_inputs:
        return traced
    graph = traced.graph.as_graph_def()
    functions = list(graph.library.function)
    # The names of loops' functions end in a number that counts whatever was traced before, in order.
    names = sorted(
        (each.signature.name for each in functions), key=lambda name: int("0" + re.split("[^0-9]", name)[-1])
    )
    order = {name: f"function {i}" for i, name in enumerate(names)}
    functions.sort(key=lambda each: names.index(each.signature.name))
    del graph.library.function[:]
    text = "".join([f"XLA: {with_xla} ", str(graph), *map(str, functions)])
    text = re.sub("CustomGradient-[0-9]+", "", text)  # how it would be differentiated, which it is not
    if names:
        longest_first = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
        text = re.sub(f"({longest_first})(?![0-9])", lambda match: order[match[1]], text)
    return _traced.setdefault(hashlib.sha256(text.encode()).hexdigest(), traced)


ALIGNMENT = 64  # bytes; TensorFlow's, on the CPU


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Returns a float32 array of zeros that starts where TensorFlow wants tensors to."""
    size = 4 * int(np.prod(shape))
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(shape)
