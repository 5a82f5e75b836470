"""Gradient strategies: what happens to dL/dx before it flows into the parameter actor.

A strategy is called with the gradient of the actor's objective with respect to its output (the ascent direction
dQ/dx, shape [n, P]) and a `StrategyContext`, and returns the gradient that the actor follows instead. It is
pure TensorFlow, so it is compiled with the update; strategies compose with `Chain`.

Any function `f(gradient, context) -> gradient` is a strategy too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from pamdp_agents.checks import check_range

LARGEST_FACTOR = 1e6
"""The largest that a gradient is multiplied by: float32 must hold its norm."""


class StrategyContext(NamedTuple):
    """What a strategy may look at besides the gradient.

    Attributes:
        x: The actor's output, float32 [n, P].
        low: Lower bound of each parameter, float32 [P].
        high: Upper bound of each parameter, float32 [P].
        td_error: target − prediction of the taken action, float32 [n].
        action: The discrete action taken, int32 [n].
        mask: Which parameters belong to which discrete action, bool [K, P].
    """

    x: tf.Tensor
    low: tf.Tensor
    high: tf.Tensor
    td_error: tf.Tensor
    action: tf.Tensor
    mask: tf.Tensor

    @property
    def taken(self) -> tf.Tensor:
        """True at the parameters of the action taken, bool [n, P]."""
        return tf.gather(self.mask, self.action)


Strategy = Callable[[tf.Tensor, StrategyContext], tf.Tensor]


class GradientStrategy:
    """Base class of the strategies that can be named and saved.

    Attributes:
        squashes: True if the actor must end in tanh, scaled to the bounds.
    """

    squashes: bool = False

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns the changed gradient, float32 [n, P]."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(gradient, context)")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, as JSON can hold them."""
        return dict(vars(self))

    def __setattr__(self, name: str, value: Any) -> None:
        # The update is compiled with the strategy as it is: another one is given to the agent, which compiles anew.
        if name in vars(self) and type(self) in STRATEGIES.values():
            raise AttributeError(
                f"{type(self).__name__}.{name} cannot change: give the agent another strategy, agent.strategy = ..."
            )
        super().__setattr__(name, value)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class Unchanged(GradientStrategy):
    """`"none"`: the gradient as it is."""

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns the gradient, float32 [n, P]."""
        return gradient


class Inverting(GradientStrategy):
    """`"inverting"`: the gradient shrinks towards the bound it points at and turns round beyond it.

    References:
        Hausknecht & Stone, "Deep Reinforcement Learning in Parameterized Action Space", ICLR 2016
        (arXiv 1511.04143), section 5, "Inverting Gradients".
    """

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns g·(high − x)/(high − low) where g > 0, else g·(x − low)/(high − low), float32 [n, P]."""
        x, low, high = context.x, context.low, context.high
        return gradient * tf.where(gradient > 0, high - x, x - low) / (high - low)


class Zeroing(GradientStrategy):
    """`"zeroing"`: no gradient where the parameter is at or past a bound and the gradient points outward.

    References:
        Hausknecht & Stone 2016 (arXiv 1511.04143), section 5, "Zeroing Gradients".
    """

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns the gradient with its outward parts at the bounds set to 0, float32 [n, P]."""
        outward = ((gradient > 0) & (context.x >= context.high)) | ((gradient < 0) & (context.x <= context.low))
        return tf.where(outward, 0.0, gradient)


class Squashing(Unchanged):
    """`"squashing"`: the actor ends in tanh scaled to the bounds; the gradient itself is left as it is.

    References:
        Hausknecht & Stone 2016 (arXiv 1511.04143), section 5, "Squashing Gradients".
    """

    squashes = True


class SignReversal(GradientStrategy):
    """`"sign_reversal"`: where the TD error is negative, the taken action's gradient is reversed and scaled.

    Args:
        factor: What the reversed gradient is multiplied by, within ±1e6.
    """

    def __init__(self, factor: float = 0.1):
        self.factor = float(check_range("factor", factor, at_least=-LARGEST_FACTOR, to=LARGEST_FACTOR))

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns −factor·g where δ < 0 and the parameter is the taken action's, else g, float32 [n, P]."""
        reversed_ = (context.td_error < 0)[:, None] & context.taken
        return tf.where(reversed_, -self.factor * gradient, gradient)


class SelectiveClipping(GradientStrategy):
    """`"selective_clipping"`: the taken action's gradient is dropped where the TD error is not above a threshold.

    Args:
        threshold: TD errors above this keep their gradient.
    """

    def __init__(self, threshold: float = -1.0):
        self.threshold = float(check_range("threshold", threshold))

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns 0 where δ <= threshold and the parameter is the taken action's, else g, float32 [n, P]."""
        dropped = (context.td_error <= self.threshold)[:, None] & context.taken
        return tf.where(dropped, 0.0, gradient)


class PseudoInverse(GradientStrategy):
    """`"pseudo_inverse"`: the taken action's gradient is scaled by its parameter and by the TD error's sign.

    Args:
        factor: The weight of the TD error's sign, within ±1e6.
    """

    def __init__(self, factor: float = 0.1):
        self.factor = float(check_range("factor", factor, at_least=-LARGEST_FACTOR, to=LARGEST_FACTOR))

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns g·x·(1 + factor·sign δ) where the parameter is the taken action's, else g, float32 [n, P]."""
        scaled = gradient * context.x * (1.0 + self.factor * tf.sign(context.td_error))[:, None]
        return tf.where(context.taken, scaled, gradient)


class Chain(GradientStrategy):
    """`"chain"`: strategies one after the other, left to right.

    Args:
        *strategies: Strategies, or anything that `get` takes.
    """

    def __init__(self, *strategies: Any):
        self.strategies = tuple(get(strategy) for strategy in strategies)
        self.squashes = any(getattr(strategy, "squashes", False) for strategy in self.strategies)

    def __call__(self, gradient: tf.Tensor, context: StrategyContext) -> tf.Tensor:
        """Returns the gradient after every strategy, float32 [n, P]."""
        for strategy in self.strategies:
            gradient = strategy(gradient, context)
        return gradient

    def get_config(self) -> dict[str, Any]:
        """Returns the configurations of the strategies in the chain.

        Raises:
            TypeError: One of them is a plain function, which has no configuration.
        """
        return {"strategies": [serialize(strategy) for strategy in self.strategies]}

    def __repr__(self) -> str:
        return f"Chain({', '.join(map(repr, self.strategies))})"


def chain(*strategies: Any) -> Chain:
    """Returns the strategy that applies the given ones left to right; see `Chain`."""
    return Chain(*strategies)


STRATEGIES: dict[str, type[GradientStrategy]] = {
    "none": Unchanged,
    "inverting": Inverting,
    "zeroing": Zeroing,
    "squashing": Squashing,
    "sign_reversal": SignReversal,
    "selective_clipping": SelectiveClipping,
    "pseudo_inverse": PseudoInverse,
    "chain": Chain,
}


def get(identifier: str | Mapping[str, Any] | Sequence[Any] | Strategy) -> Strategy:
    """Returns the strategy that an identifier means, as `keras.optimizers.get` does for optimisers.

    Args:
        identifier: A name (`"inverting"`), a configuration (`{"name": "sign_reversal", "factor": 0.2}`), a list
            of identifiers (a chain), a `GradientStrategy`, or any function of (gradient, context).

    Raises:
        ValueError: The name is unknown, or the configuration has arguments that the strategy doesn't take.
        TypeError: The identifier is none of the above.
    """
    if isinstance(identifier, str):
        return get({"name": identifier})
    if isinstance(identifier, Mapping):
        config = dict(identifier)
        name = config.pop("name", None)
        if name not in STRATEGIES:
            raise ValueError(f"strategy {name!r} is unknown; known: {', '.join(STRATEGIES)}, or your own function")
        try:
            return Chain(*config.pop("strategies", ()), **config) if name == "chain" else STRATEGIES[name](**config)
        except TypeError as error:
            raise ValueError(f"strategy {name!r} does not take the arguments {config}: {error}") from None
    if isinstance(identifier, Sequence):
        return Chain(*identifier)
    if callable(identifier) and not isinstance(identifier, type):
        return identifier
    raise TypeError(
        f"strategy must be a name, a configuration, a list of these, or a function of (gradient, context); "
        f"got {identifier!r}"
    )


def serialize(strategy: Strategy) -> dict[str, Any]:
    """Returns the configuration from which `get` makes the strategy again.

    Raises:
        TypeError: It is a user's own function or class, which has no name here.
    """
    name = next((name for name, known in STRATEGIES.items() if type(strategy) is known), None)
    if name is None or not isinstance(strategy, GradientStrategy):
        raise TypeError(f"strategy {strategy!r} is not one of {', '.join(STRATEGIES)}: it has no configuration")
    return {"name": name, **strategy.get_config()}
