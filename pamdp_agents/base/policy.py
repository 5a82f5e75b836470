"""Acting, written once by an algorithm and done in three ways: in NumPy, compiled, and frozen for export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from pamdp_agents.experience.transition import Decision
from pamdp_agents.learning.learner import Learner
from pamdp_agents.networks.keras_settings import check_tensorflow
from pamdp_agents.networks.models import FlatNetwork

Networks: TypeAlias = Mapping[str, Callable[..., Any]]
"""An agent's networks by name, as functions of their inputs: arrays to arrays, or tensors to tensors."""

Act: TypeAlias = Callable[[Networks, Any, Any], Decision]
"""What an algorithm does for scaled observations, float32 [n, D], with its networks; the last is which discrete actions
are allowed, bool [n, K], or None: all."""

CACHED_ROWS = 128  # as many observations as have their hidden layers within the processor's cache


def best(values: Any, masks: Any = None) -> Any:
    """Returns the allowed actions of the highest values, int [n], for values [n, K]: of an array, or of a tensor."""
    values = where_allowed(values, masks, -np.inf)
    return values.argmax(1) if isinstance(values, np.ndarray) else tf.argmax(values, 1, tf.int32)


def where_allowed(values: Any, masks: Any, otherwise: float) -> Any:
    """Returns values [n, K], an array or tensor, with another number for discrete actions that are not allowed.

    Args:
        values: The values.
        masks: Which are allowed, bool [n, K]; None: all.
        otherwise: The number.
    """
    if masks is None:
        return values
    if isinstance(values, np.ndarray):
        return np.where(masks, values, values.dtype.type(otherwise))
    return tf.where(masks, values, tf.constant(otherwise, values.dtype))


class Acting(Protocol):
    """An agent's deterministic decisions, however it makes them."""

    def decide(self, observations: np.ndarray, masks: np.ndarray | None = None) -> Decision:
        """Returns the decisions for scaled observations.

        Args:
            observations: float32 [n, D].
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """

    def forget_weights(self) -> None:
        """Lets go of all views of the weights, which have changed."""

    def frozen(self) -> Callable[..., Decision]:
        """Returns the decisions as a function of observations [n, D] and masks [n, K] or None, tensors.

        The weights in use are constants in it.
        """


class GreedyPolicy:
    """An agent's deterministic decisions.

    Networks are called in NumPy if all have a NumPy form, which is many times faster for a handful of observations;
    else in one compiled function.

    Args:
        act: What the algorithm does.
        networks: Its networks.
        learner: Has their weights.
        n_observations: D, size of an observation.
    """

    def __init__(
        self,
        act: Act,
        networks: Mapping[str, FlatNetwork],
        learner: Learner,
        n_observations: int,
    ):
        self._act, self._networks, self._learner = act, networks, learner
        self._views: _NumPyNetworks | None = None
        in_numpy = all(network.model.numpy_activation is not None for network in networks.values())
        self._compiled = {} if in_numpy else self._compile(n_observations)

    def decide(self, observations: np.ndarray, masks: np.ndarray | None = None) -> Decision:
        """Returns the decisions for scaled observations.

        Args:
            observations: float32 [n, D].
            masks: Which discrete actions are allowed, bool [n, K]; None: all.
        """
        if self._compiled:
            check_tensorflow()
            weights = self._learner.weights()
            given = (observations, weights) if masks is None else (observations, weights, masks)
            decision = self._compiled["any" if masks is None else "allowed"](*given)
            return Decision(*tf.nest.map_structure(lambda tensor: tensor.numpy(), tuple(decision)))
        networks = self.networks()
        try:
            return self._act_in_numpy(networks, observations, masks)
        except FloatingPointError:  # where np.seterr shall find mistakes; numbers that fade to 0 are none
            with np.errstate(all="ignore"):
                return self._act_in_numpy(networks, observations, masks)

    def _act_in_numpy(self, networks: Networks, observations: np.ndarray, masks: np.ndarray | None) -> Decision:
        if len(observations) <= CACHED_ROWS:
            return self._act(networks, observations, masks)
        places = [slice(i, i + CACHED_ROWS) for i in range(0, len(observations), CACHED_ROWS)]
        blocks = [self._act(networks, observations[at], None if masks is None else masks[at]) for at in places]
        k, x, extras = zip(*blocks, strict=True)
        joined = {name: np.concatenate([each[name] for each in extras]) for name in extras[0]}
        return Decision(np.concatenate(k), np.concatenate(x), joined)

    def networks(self) -> Networks:
        """Returns the networks with the weights in use, as functions of arrays."""
        if self._compiled:
            return self._with(self._learner.weights())
        if self._views is None:
            self._views = _NumPyNetworks(self._networks, self._learner.weights())
        return self._views

    def forget_weights(self) -> None:
        """Lets go of all views of the weights, which have changed."""
        self._views = None

    def frozen(self) -> Callable[..., Decision]:
        """Returns the decisions as a function of observations [n, D] and masks [n, K] or None, tensors.

        The weights in use are constants in it.
        """
        weights = self._learner.weights()
        networks = {name: network.frozen(weights[name]) for name, network in self._networks.items()}
        return lambda observations, masks=None: self._act(networks, observations, masks)

    def _compile(self, n_observations: int) -> dict[str, Any]:
        sizes = {name: tf.TensorSpec(network.size) for name, network in self._networks.items()}
        given = [tf.TensorSpec((None, n_observations)), sizes]

        @tf.function(input_signature=given, autograph=False)
        def decide_any(observations: tf.Tensor, weights: dict[str, tf.Tensor]) -> tuple[Any, ...]:
            return tuple(self._act(self._with(weights), observations, None))

        @tf.function(input_signature=[*given, tf.TensorSpec((None, None), tf.bool)], autograph=False)
        def decide_allowed(observations: tf.Tensor, weights: dict[str, tf.Tensor], masks: tf.Tensor) -> tuple[Any, ...]:
            return tuple(self._act(self._with(weights), observations, masks))

        return {"any": decide_any, "allowed": decide_allowed}

    def _with(self, weights: Mapping[str, Any]) -> Networks:
        """Returns the networks with weights, float32 [size] each, as functions of tensors."""
        return {name: partial(network, weights[name]) for name, network in self._networks.items()}


class _NumPyNetworks(dict[str, Callable[..., np.ndarray]]):
    """Networks as NumPy functions; the weights of one are taken apart when it is first called."""

    def __init__(self, networks: Mapping[str, FlatNetwork], weights: Mapping[str, np.ndarray]):
        super().__init__()
        self._networks, self._weights = networks, weights

    def __missing__(self, name: str) -> Callable[..., np.ndarray]:
        self[name] = self._networks[name].in_numpy(self._weights[name])
        return self[name]
