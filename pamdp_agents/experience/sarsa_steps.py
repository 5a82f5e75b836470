"""What Sarsa(λ) learns from next: a transition, and the action already chosen after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class Choice(NamedTuple):
    """A discrete action chosen in a state.

    Attributes:
        features: φ(s), float32 [F].
        k: The action.
    """

    features: Float32
    k: int


class Taken(NamedTuple):
    """A transition that Sarsa(λ) learns from next.

    Attributes:
        choice: What was done.
        reward: What followed.
        discount: γ, or what it is for an action of several substeps; 0 where the episode really ended.
        following: The choice made in what followed; None where the episode really ended.
        ended: Whether the episode ended in any way.
    """

    choice: Choice
    reward: float
    discount: float
    following: Choice | None
    ended: bool


class SarsaSteps:
    """The transition that Sarsa(λ) learns from next, and the choice already made for the next step.

    Attributes:
        taken: The transition, or None.
        next: The choice, or None.
    """

    def __init__(self) -> None:
        self.taken: Taken | None = None
        self.next: Choice | None = None

    def state(self) -> dict[str, np.ndarray]:
        """Returns both as arrays."""
        state = _choice_state("next", self.next)
        if self.taken is not None:
            choice, reward, discount, following, ended = self.taken
            state |= _choice_state("taken", choice) | _choice_state("following", following)
            state["taken"] = np.array([reward, discount, ended], np.float64)
        return state

    def restore(self, state: Mapping[str, np.ndarray], n_features: int, n_actions: int) -> None:
        """Takes back what `state` returned.

        Args:
            state: What was returned, among other arrays.
            n_features: F.
            n_actions: K.

        Raises:
            KeyError: A part is missing.
            ValueError: A part has another shape or type, is not finite, or is no action.
        """
        self.next, choice, following = (
            _restored_choice(state, name, n_features, n_actions) for name in ("next", "taken", "following")
        )
        self.taken = None
        if choice is not None:
            reward, discount, ended = check_array(state, "taken", np.float64, (3,)).tolist()
            self.taken = Taken(choice, reward, discount, following, bool(ended))


def check_array(state: Mapping[str, np.ndarray], name: str, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns one of a file's arrays.

    Raises:
        KeyError: It is missing.
        ValueError: It has another shape or type, or is not finite.
    """
    array = state[name]
    if array.dtype != dtype or array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, of type {np.dtype(dtype)} and shape {shape}, got {array!r}")
    return array


def _choice_state(name: str, choice: Choice | None) -> dict[str, np.ndarray]:
    return {} if choice is None else {f"{name}_features": choice.features, f"{name}_k": np.array(choice.k, np.int64)}


def _restored_choice(state: Mapping[str, np.ndarray], name: str, n_features: int, n_actions: int) -> Choice | None:
    if f"{name}_features" not in state:
        return None
    k = int(check_array(state, f"{name}_k", np.int64, ()))
    if not 0 <= k < n_actions:
        raise ValueError(f"{name}_k must be a discrete action in 0..{n_actions - 1}, got {k}")
    return Choice(check_array(state, f"{name}_features", np.float32, (n_features,)), k)
