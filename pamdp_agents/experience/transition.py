"""What is decided, what a transition holds, and how it is packed in a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from pamdp_agents.learning.flat import FlatLayout

NEXT_MASK = "next_action_mask"
"""Name of what is stored where discrete actions may be forbidden: which are allowed after the transition."""


class Decision(NamedTuple):
    """What an agent decided in n environments; arrays, or tensors inside compiled functions.

    Attributes:
        k: Discrete actions, int [n].
        x: Parameters of all actions, scaled to [−1, 1], float [n, P].
        extras: What else is stored with the transition, float [n, …], by name.
    """

    k: Any
    x: Any
    extras: Mapping[str, Any]


class Transition(NamedTuple):
    """Transitions taken apart; arrays or tensors with leading axis n.

    Attributes:
        s: Observation, float32 [n, D].
        k: Discrete action, float32 [n] (int32 once inside the compiled update).
        x: Parameters of all actions, float32 [n, P].
        r: Reward, float32 [n].
        s2: Next observation, float32 [n, D].
        discount: What is left of the value of `s2`, before γ, float32 [n]: 0 where the episode really ended, else 1
            (truncated episodes bootstrap); of m steps γ^(m−1) times that.
        extras: What else the agent decided, float32 [n, …], by name.
    """

    s: Any
    k: Any
    x: Any
    r: Any
    s2: Any
    discount: Any
    extras: Mapping[str, Any]


class TransitionLayout(FlatLayout):
    """Where each part of a transition lies in a packed row.

    Args:
        n_observations: D, size of the observation.
        n_parameters: P, number of parameters of all actions.
        extras: Size of each of the agent's extras, by name.
    """

    def __init__(self, n_observations: int, n_parameters: int, extras: Mapping[str, int] | None = None):
        self.extras = tuple(extras or {})
        sizes = {"s": (n_observations,), "k": (), "x": (n_parameters,), "r": (), "s2": (n_observations,)}
        super().__init__(sizes | {"discount": ()} | {name: (size,) for name, size in (extras or {}).items()})
        # Where a part of n numbers goes: into a column, not a matrix of one.
        self._columns = [
            self.places[name].start if shape == () else self.places[name] for name, shape in self.shapes.items()
        ]

    def with_observations(self, n_observations: int) -> TransitionLayout:
        """Returns the layout that differs in the size of the observations only."""
        extras = {name: self.shapes[name][0] for name in self.extras}
        return TransitionLayout(n_observations, self.shapes["x"][0], extras)

    def pack(self, rows: Any, transitions: Transition) -> None:
        """Writes n transitions into rows, float32 [n, size]."""
        *parts, extras = transitions
        if self.extras:
            parts += [extras[name] for name in self.extras]
        for columns, part in zip(self._columns, parts, strict=True):
            rows[:, columns] = part

    def parts(self, rows: Any) -> dict[str, Any]:
        """Returns the parts of rows [n, size] as files hold them: each with two axes, by name."""
        return {name: rows[:, place] for name, place in self.places.items()}

    def unpack(self, rows: Any) -> Transition:
        """Takes rows [n, size] apart, arrays or tensors; of tensors, `k` becomes int32."""
        parts = self.split(rows)
        s, k, x, r, s2, discount = (parts[name] for name in Transition._fields[:-1])
        k = tf.cast(k, tf.int32) if isinstance(k, tf.Tensor) else k
        return Transition(s, k, x, r, s2, discount, {name: parts[name] for name in self.extras})
