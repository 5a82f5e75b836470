"""Which of the two readings an action space has: a parameterised action, or independent parts."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from gymnasium import spaces

from pamdp_agents.spaces import nested
from pamdp_agents.spaces.action_layouts import read_layout
from pamdp_agents.spaces.independent import IndependentActionSpace
from pamdp_agents.spaces.parameterized import ParameterizedActionSpace

ActionLayout: TypeAlias = Literal["parameterized", "independent"]


def read_actions(
    space: spaces.Space[Any], layout: ActionLayout | None
) -> ParameterizedActionSpace | IndependentActionSpace:
    """Returns what converts the actions of a space.

    Args:
        space: The environment's action space.
        layout: `"parameterized"`: a discrete choice with parameters of each option, as `ParameterizedActionSpace`
            reads them; `"independent"`: all parts are chosen independently; None: the first if the space is a Tuple,
            Dict or OneOf of one discrete choice and boxes, else the second.

    Raises:
        TypeError: The space has neither layout, or not the one that is asked for.
        ValueError: It can be read in more than one way, or a Box cannot be honoured.
    """
    if layout == "independent" or (layout is None and not _is_parameterized(space)):
        return IndependentActionSpace(space)
    try:
        return ParameterizedActionSpace(space)
    except ValueError as error:
        if layout is not None or isinstance(space, spaces.OneOf):
            raise
        raise ValueError(
            f'{error} Or give action_layout="independent", if the parts of this space are chosen independently of '
            "each other, and none of them is only for some of the discrete actions."
        ) from error


def _is_parameterized(space: spaces.Space[Any]) -> bool:
    """Whether a space is a Tuple, Dict or OneOf of one discrete choice and boxes."""
    if isinstance(space, spaces.OneOf):
        return True
    if nested.parts(space) is None:
        return False
    try:
        choice, _, components = read_layout(space)
    except TypeError:
        return False
    leaves = [leaf for component in components for _, leaf in nested.leaves(component)]
    boxes = [leaf for leaf in leaves if isinstance(leaf, spaces.Box)]
    fillers = [leaf for leaf in leaves if isinstance(leaf, spaces.Discrete) and leaf.n == 1]
    return choice is not None and len(boxes) + len(fillers) == len(leaves)
