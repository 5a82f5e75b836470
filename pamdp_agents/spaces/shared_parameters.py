"""An action space whose discrete actions share parameters."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray


class SharedParameters(spaces.Tuple):
    """`Tuple(Discrete(K), Box)` that says which of the Box's numbers each discrete action uses; they may share some.

    An action is `(k, x)` with all P numbers. To Gymnasium it is a `Tuple`; `HybridActionWrapper` presents this space
    where its `parameter_mask` gives one parameter to several actions.

    Args:
        discrete: The discrete choice.
        box: The parameters, of shape (P,).
        parameter_mask: bool [K, P], which of the parameters each discrete action uses; each belongs to at least one.

    Attributes:
        parameter_mask: bool [K, P].

    Raises:
        ValueError: The mask has another shape, or a parameter belongs to no action.
    """

    def __init__(self, discrete: spaces.Discrete, box: spaces.Box, parameter_mask: ArrayLike) -> None:
        super().__init__((discrete, box))
        self.parameter_mask: NDArray[np.bool_] = np.array(parameter_mask, dtype=np.bool_)
        expected = (int(discrete.n), *box.shape)
        if self.parameter_mask.shape != expected or len(expected) != 2 or not self.parameter_mask.any(0).all():
            raise ValueError(
                f"parameter_mask must be a bool array of shape {expected}, a row per discrete action and a column per "
                f"number of {box}, which has one axis, with each number in use by an action; got shape "
                f"{self.parameter_mask.shape}"
            )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, SharedParameters)
            and super().__eq__(other)
            and np.array_equal(self.parameter_mask, other.parameter_mask)
        )

    def __repr__(self) -> str:
        discrete, box = self.spaces
        return f"SharedParameters({discrete}, {box}, parameter_mask of shape {self.parameter_mask.shape})"
