"""The agents: one file per algorithm, and the one list of them.

The command line, the benchmark, the tests and `pamdp_agents` itself read the list. An agent's class is imported when it
is first asked for: that takes TensorFlow, and so seconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pamdp_agents.agents.hybrid_ppo import HybridPPO as HybridPPO
    from pamdp_agents.agents.mpdqn import MPDQN as MPDQN
    from pamdp_agents.agents.paddpg import PADDPG as PADDPG
    from pamdp_agents.agents.pdqn import PDQN as PDQN
    from pamdp_agents.agents.qpamdp import QPAMDP as QPAMDP
    from pamdp_agents.agents.spdqn import SPDQN as SPDQN

AGENTS = {
    "pdqn": "PDQN",
    "mpdqn": "MPDQN",
    "spdqn": "SPDQN",
    "paddpg": "PADDPG",
    "hybrid_ppo": "HybridPPO",
    "qpamdp": "QPAMDP",
}
"""The class of each agent, by the name of its module, which is also its name on the command line."""


def agent_class(name: str) -> Any:
    """Returns an agent's class.

    Args:
        name: Its name on the command line (`"mpdqn"`), or the class's own (`"MPDQN"`).

    Raises:
        ValueError: There is no such agent.
    """
    for module, class_name in AGENTS.items():
        if name in (module, class_name):
            return getattr(importlib.import_module(f"{__name__}.{module}"), class_name)
    raise ValueError(f"there is no agent {name!r}; known: {', '.join(AGENTS.values())}")


def __getattr__(name: str) -> Any:
    """Imports an agent's class when it is first asked for."""
    if name not in AGENTS.values():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return agent_class(name)
