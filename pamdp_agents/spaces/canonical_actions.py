"""What training asks of an action space, whatever its layout."""

from __future__ import annotations

from typing import Any, Protocol

from gymnasium import spaces
from numpy.typing import ArrayLike


class CanonicalActions(Protocol):
    """Converts canonical arrays, discrete choices and numbers, to an environment's actions.

    Attributes:
        space: The environment's action space.
        parameter_size: P, the number of continuous numbers.
        options: How many options each discrete choice has.
    """

    space: spaces.Space[Any]
    parameter_size: int
    options: tuple[int, ...]

    def to_env_batch(self, k: ArrayLike, x: ArrayLike) -> list[Any]:
        """Returns the list of n environment actions for discrete choices `k` and numbers `x` [n, P]."""

    def to_env_stacked(self, k: ArrayLike, x: ArrayLike) -> Any:
        """Returns the same as Gymnasium's vector environments batch them."""
