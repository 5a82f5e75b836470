"""Which agents there are, for tests of those of one kind."""

import inspect

from pamdp_agents.agents import AGENTS, agent_class


def those_of(kind, settings):
    """Those of the settings that the agent has."""
    return {name: value for name, value in settings.items() if name in inspect.signature(kind).parameters}


WITH_REPLAY = [name for name in AGENTS if "buffer_size" in inspect.signature(agent_class(name)).parameters]
"""The names of the agents that learn from a replay buffer."""
