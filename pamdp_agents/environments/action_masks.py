"""Which discrete actions environments allow at the moment.

A mask is bool [K], True where a discrete action is allowed. Two conventions are in use: sb3-contrib's, by which an
environment has a method `action_masks()`, and `info["action_mask"]` of every `reset` and `step`. Where an environment
has both, the method counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.checks import holds_truth_values
from pamdp_agents.environments.returned import Fault, shown

METHOD, KEY = "action_masks", "action_mask"


class ActionMasks:
    """What n environments say of their discrete actions.

    Args:
        has_method: Returns whether the environments have the method; asked once.
        ask: Returns what it gives in each of them.

    Attributes:
        given: Of each environment, what it gave for its current observation; None: everything is always allowed.
        at_ends: The same of last observations that `given` says nothing of, for the next episode has begun, by
            environment; None where nobody knows.
    """

    def __init__(self, has_method: Callable[[], bool], ask: Callable[[], Sequence[Any]]) -> None:
        self._has_method, self._ask = has_method, ask
        self._where: Literal["method", "info", "nowhere", "unknown"] = "unknown"
        self.given: list[Any] | None = None
        self.at_ends: dict[int, Any] = {}

    def read(self, infos: Sequence[Mapping[str, Any]], at_ends: Mapping[int, Mapping[str, Any]] | None = None) -> None:
        """Reads the masks of the current observations; the first time, finds out where they are.

        Args:
            infos: What the environments gave with them, n dicts.
            at_ends: What they gave with last observations in whose place the next episode's first are, by environment.

        Raises:
            Fault: One of them gives no mask, but others do, or it did before; or the other way about.
        """
        if self._where == "unknown":
            in_info = any(KEY in info for info in infos)
            self._where = "method" if self._has_method() else "info" if in_info else "nowhere"
        if self._where == "nowhere":
            for i, info in enumerate(infos):
                if KEY in info:
                    raise Fault(
                        f'gave info["{KEY}"], but not with its first observation: masks must be there from the '
                        "reset on",
                        index=i,
                    )
            return
        self.at_ends = {i: info.get(KEY) for i, info in (at_ends or {}).items()}
        if self._where == "method":
            self.given = list(self._ask())
        else:
            self.given = [_mask_in(info, i) for i, info in enumerate(infos)]

    def read_again(self, infos: Mapping[int, Mapping[str, Any]]) -> None:
        """Reads the masks of some environments anew, for they have been reset.

        Args:
            infos: What their resets gave, by environment.

        Raises:
            Fault: As `read`.
        """
        if self._where == "method":
            self.given = list(self._ask())
        elif self.given is not None:
            self.given = [_mask_in(infos[i], i) if i in infos else mask for i, mask in enumerate(self.given)]


def read_mask(given: Any, n_actions: int, index: int | None = None) -> NDArray[np.bool_]:
    """Returns a mask, bool [K].

    Raises:
        Fault: It is something else.
    """
    try:
        mask = np.asarray(given)
    except ValueError:  # ragged
        mask = np.zeros(())
    if mask.shape != (n_actions,) or not holds_truth_values(mask):
        raise Fault(
            f"gave the action mask {shown(given)}, which is not {n_actions} of True and False, one for each discrete "
            "action",
            TypeError if mask.shape == (n_actions,) else ValueError,
            index,
        )
    return mask.astype(np.bool_)


def read_masks(given: Sequence[Any], n_actions: int) -> NDArray[np.bool_]:
    """Returns the masks of n environments, bool [n, K], as an array of its own.

    Raises:
        Fault: One of them is no mask.
    """
    return np.stack([read_mask(mask, n_actions, i) for i, mask in enumerate(given)])


def _mask_in(info: Mapping[str, Any], index: int) -> Any:
    if KEY not in info:
        raise Fault(f'gave no info["{KEY}"], as it did before', index=index)
    return info[KEY]
