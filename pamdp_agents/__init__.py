"""Agents for parameterised action spaces (PAMDPs), with Stable-Baselines3's interface, in TensorFlow, on Gymnasium."""

import importlib
from typing import TYPE_CHECKING, Any

import pamdp_envs  # noqa: F401  # registers pamdp/Platform-v0, pamdp/Goal-v0 and pamdp/Goal-v1

from pamdp_agents.spaces import ParameterizedActionSpace
from pamdp_agents.wrappers import FlattenHybridAction, HybridActionWrapper

if TYPE_CHECKING:
    from pamdp_agents.agents.mpdqn import MPDQN
    from pamdp_agents.agents.pdqn import PDQN
    from pamdp_agents.seeds import train_seeds

__all__ = ["MPDQN", "PDQN", "FlattenHybridAction", "HybridActionWrapper", "ParameterizedActionSpace", "train_seeds"]

_LATER = {
    "MPDQN": "pamdp_agents.agents.mpdqn",
    "PDQN": "pamdp_agents.agents.pdqn",
    "train_seeds": "pamdp_agents.seeds",
}


def __getattr__(name: str) -> Any:
    """Imports what needs TensorFlow when it is first asked for: that takes seconds, and spaces and wrappers don't."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)
