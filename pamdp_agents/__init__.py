"""Agents for parameterised action spaces (PAMDPs), with Stable-Baselines3's interface, in TensorFlow, on Gymnasium."""

from typing import TYPE_CHECKING, Any

import pamdp_envs  # noqa: F401  # registers pamdp/Platform-v0, pamdp/Goal-v0 and pamdp/Goal-v1

from pamdp_agents.agents import AGENTS, agent_class
from pamdp_agents.files import SavedFileError
from pamdp_agents.learning.divergence import DivergedError
from pamdp_agents.spaces import ParameterizedActionSpace
from pamdp_agents.wrappers import FlattenHybridAction, HybridActionWrapper

if TYPE_CHECKING:
    from pamdp_agents.agents import *  # noqa: F403  # whatever agents there are: the list of them is there
    from pamdp_agents.experience import PrioritizedReplayBuffer, ReplayBuffer
    from pamdp_agents.training import train_seeds, train_together

__all__ = [
    *AGENTS.values(),
    "DivergedError",
    "FlattenHybridAction",
    "HybridActionWrapper",
    "ParameterizedActionSpace",
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "SavedFileError",
    "train_seeds",
    "train_together",
]


def __getattr__(name: str) -> Any:
    """Imports what needs TensorFlow when it is first asked for: that takes seconds, and spaces and wrappers don't."""
    if name in AGENTS.values():
        return agent_class(name)
    if name in ("train_seeds", "train_together"):
        from pamdp_agents import training

        return getattr(training, name)
    if name in ("PrioritizedReplayBuffer", "ReplayBuffer"):
        from pamdp_agents import experience

        return getattr(experience, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
