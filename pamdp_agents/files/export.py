"""The policy as one function that runs without this library: a SavedModel folder, a TFLite file or an ONNX file.

The function takes raw observations, as the environment gives them, and returns the deterministic actions in the
environment's units: flattening and scaling, the networks, unscaling, rounding and clipping are all inside. It says in
TensorFlow what `ObservationTransform` and `ParameterizedActionSpace` say in NumPy.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from gymnasium import spaces

from pamdp_agents.checks import check_choice
from pamdp_agents.files.archive import versions
from pamdp_agents.files.export_formats import FORMATS, check_free
from pamdp_agents.files.space_json import space_to_json
from pamdp_agents.files.streams import with_suffix
from pamdp_agents.spaces import IndependentActionSpace, ObservationTransform, ParameterizedActionSpace, nested
from pamdp_agents.spaces.canonical_actions import CanonicalActions
from pamdp_agents.spaces.in_tensorflow import compose_parts, flatten, output_name, round_inward

FORMAT_VERSION = 1

MASKS = "action_masks"
"""Name of the input that says which discrete actions are allowed, bool [n, K], of an agent whose environments do so."""

PRECISION = 1e-5  # how close to the agent's the exported parameters are, as a fraction of each one's range


class Exportable(Protocol):
    """What exporting asks of an agent.

    Attributes:
        observation_space: Its observation space.
        action_space: Its action space.
        observation_transform: Flattens and scales observations.
        canonical_actions: Converts canonical actions to the environment's.
        scale_observations: Whether observations are scaled.
        masked: Whether its environments say which discrete actions are allowed.
    """

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    observation_transform: ObservationTransform
    canonical_actions: CanonicalActions
    scale_observations: bool | list[str]
    masked: bool

    def flat_weights(self) -> dict[str, np.ndarray]:
        """Returns each network's weights, float32 [size]."""

    def frozen_policy(self) -> Callable[..., tuple[Any, Any, Any]]:
        """Returns its decisions (k, x, extras) as a function of tensors: observations [n, D], masks [n, K] or None."""


class Input(NamedTuple):
    """One tensor that the exported function takes: n values of one leaf of the observation space."""

    name: str
    path: str
    leaf: spaces.Space[Any]
    dtype: np.dtype


def export(agent: Exportable, path: str | os.PathLike, format: str) -> None:
    """Writes an agent's policy; see `Agent.export`."""
    chosen = FORMATS[check_choice("format", format, list(FORMATS))]
    place = with_suffix(path, chosen.suffix)
    meant = place.suffix.removeprefix(".")
    if meant in FORMATS and meant != format:
        raise ValueError(f"path {os.fspath(path)!r} is named like a file of format {meant!r}, but format is {format!r}")
    check_free(place, format, chosen)
    # TFLite has no arithmetic of float64. The others scale in it, as the agent does.
    working = np.dtype(np.float32 if format == "tflite" else np.float64)
    inputs = _inputs(agent.observation_space, working)
    if not all(np.isfinite(weights).all() for weights in agent.flat_weights().values()):
        raise ValueError("the agent's weights are not finite, its training has diverged: export an earlier agent")
    if working == np.float32:
        _check_float32(agent)
    specs = [tf.TensorSpec((None, *(each.leaf.shape or ())), each.dtype, each.name) for each in inputs]
    if agent.masked:
        specs.append(tf.TensorSpec((None, sum(agent.canonical_actions.options)), tf.bool, MASKS))
    module = tf.Module()
    module.policy = tf.function(_policy(agent, inputs, working), input_signature=specs, autograph=False)
    # Bounds may be infinite, for which JSON has no number: null.
    description = json.loads(json.dumps(_describe(agent, inputs)), parse_constant=lambda name: None)
    chosen.write(place, module, json.dumps(description, indent=2))


def _inputs(space: spaces.Space[Any], working: np.dtype) -> list[Input]:
    leaves = nested.leaves(space)
    names = [re.sub(r"\W+", "_", f"observation{path}", flags=re.ASCII).rstrip("_") for path, _ in leaves]
    if len(set(names)) < len(names):  # the keys "a b" and "a_b"
        names = [f"{name}_{i}" for i, name in enumerate(names)]
    inputs = []
    for name, (path, leaf) in zip(names, leaves, strict=True):
        if not isinstance(leaf, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
            raise TypeError(
                f"export needs observations of Box, Discrete, MultiDiscrete or MultiBinary, or a Tuple or Dict of "
                f"them, unlike observation_space{path}, {leaf}"
            )
        dtype = np.dtype(leaf.dtype)
        inputs.append(Input(name, path, leaf, working if dtype.kind == "f" and working == np.float32 else dtype))
    return inputs


def _policy(agent: Exportable, inputs: list[Input], working: np.dtype) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns the function from n observations, a tensor for each leaf, to n actions."""
    observations, decide = agent.observation_transform, agent.frozen_policy()
    # Scaled = (observation − low) · factor + offset: the difference is exact for float32 near its bounds, where the
    # product with the factor first would lose a narrow range far from 0.
    half = np.where(observations.scaled, observations.high - observations.low, 2) / 2
    low = np.where(observations.scaled, observations.low, 0).astype(working)
    factor = np.divide(1, half, out=np.zeros_like(half), where=half > 0).astype(working)
    offset = np.where(observations.scaled & (half > 0), -1, 0).astype(working)

    compose = _compose(agent, working)

    def policy(*given: tf.Tensor) -> dict[str, tf.Tensor]:
        leaves, masks = (given[:-1], given[-1]) if agent.masked else (given, None)
        columns = [tf.cast(flatten(each.leaf, value), working) for each, value in zip(inputs, leaves, strict=True)]
        observation = (tf.concat(columns, 1) - low) * factor + offset
        k, x, _ = decide(tf.cast(observation, tf.float32), masks)
        return compose(k, x)

    return policy


def _compose(agent: Exportable, working: np.dtype) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the function from n canonical actions to what the exported policy returns."""
    actions = agent.canonical_actions
    if isinstance(actions, IndependentActionSpace):
        parts = actions  # whose type holds within the function
        return lambda k, x: compose_parts(parts, k, x, working)
    assert isinstance(actions, ParameterizedActionSpace)
    first, n_parameters = actions.start, actions.parameter_size
    boxes = [box for _, box in _boxes(agent.action_space)]
    integer = np.concatenate([np.zeros(0, bool), *(np.full(math.prod(b.shape), b.dtype.kind != "f") for b in boxes)])
    # float32, or float64 where the environment has it and the format can.
    parameter_dtype = min(np.result_type(np.float32, *(box.dtype for box in boxes)), working)
    lowest, highest = round_inward(actions.low, actions.high, parameter_dtype)
    reach, start = ((actions.high - actions.low) / 2).astype(working), actions.low.astype(working)

    def compose(k: tf.Tensor, x: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = {"action": k + first}
        if n_parameters:  # TFLite has no tensors of size 0
            values = (tf.cast(x, working) + 1) * reach + start
            values = tf.where(integer, tf.round(values), values) if integer.any() else values
            outputs["parameters"] = tf.clip_by_value(tf.cast(values, parameter_dtype), lowest, highest)
        return outputs

    return compose


def _boxes(action_space: spaces.Space[Any]) -> list[tuple[str, spaces.Box]]:
    """Returns the boxes with their paths, in the order of the canonical parameters."""
    tree = spaces.Tuple(action_space.spaces) if isinstance(action_space, spaces.OneOf) else action_space
    return [(path, leaf) for path, leaf in nested.leaves(tree) if isinstance(leaf, spaces.Box)]


def _check_float32(agent: Exportable) -> None:
    """Refuses ranges that float32 cannot resolve to the promised precision, though the environment's dtype can."""
    boxes = [(f"action_space{path}", box) for path, box in _boxes(agent.action_space)]
    if agent.scale_observations:
        boxes += [
            (f"observation_space{path}", leaf)
            for path, leaf in nested.leaves(agent.observation_space)
            if isinstance(leaf, spaces.Box)
        ]
    for name, box in boxes:
        bounded = nested.bounded(box)
        low, high = box.low[bounded].astype(np.float64), box.high[bounded].astype(np.float64)
        step = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
        if not np.can_cast(box.dtype, np.float32) and np.any((step > PRECISION * (high - low)) & (high > low)):
            raise ValueError(
                f"{name} has a range so narrow and far from 0 that float32, all that TFLite computes in, is too "
                f"coarse for it: {box}. Export another format, or wrap the environment so that these numbers are "
                "relative to a point near by."
            )


def _whose(actions: ParameterizedActionSpace, k: int) -> dict[str, Any]:
    """Which parameters are an action's: from where to where, or where actions share some, their numbers."""
    if actions.shared:
        return {"parameter_indices": np.flatnonzero(actions.mask[k]).tolist()}
    stop = sum(actions.parameter_sizes[: k + 1])
    return {"parameters": [stop - actions.parameter_sizes[k], stop]}


def _describe(agent: Exportable, inputs: list[Input]) -> dict[str, Any]:
    """What a reader needs to call the function and to take its outputs apart, as JSON can hold it."""
    return {
        "format_version": FORMAT_VERSION,
        "versions": versions(),
        "agent": type(agent).__name__,
        "inputs": [
            {"name": each.name, "path": each.path, "shape": list(each.leaf.shape or ()), "dtype": str(each.dtype)}
            for each in inputs
        ],
        "action_masks": MASKS if agent.masked else None,
        **_describe_actions(agent.canonical_actions),
        "observation_space": space_to_json(agent.observation_space),
        "action_space": space_to_json(agent.action_space),
    }


def _describe_actions(actions: CanonicalActions) -> dict[str, Any]:
    """What a reader needs to take the outputs apart."""
    if isinstance(actions, IndependentActionSpace):
        parts = [(part, part.space) for part in actions.parts if math.prod(part.space.shape or ())]
        return {
            "outputs": [
                {
                    "name": output_name(part),
                    "path": part.path,
                    "shape": list(leaf.shape or ()),
                    "dtype": str(leaf.dtype),
                }
                for part, leaf in parts
            ]
        }
    assert isinstance(actions, ParameterizedActionSpace)
    boxes, stop = [], 0
    for path, box in _boxes(actions.space):
        start, stop = stop, stop + math.prod(box.shape)
        boxes.append({"path": path, "parameters": [start, stop], "shape": list(box.shape), "dtype": str(box.dtype)})
    return {
        "actions": [{"action": actions.start + k} | _whose(actions, k) for k in range(actions.n)],
        "boxes": boxes,
        "low": actions.low.tolist(),
        "high": actions.high.tolist(),
    }
