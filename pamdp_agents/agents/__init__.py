"""The agents, one file per algorithm."""

AGENTS = {"pdqn": "PDQN", "mpdqn": "MPDQN"}
"""The agents: their names on the command line, and their classes' in ``pamdp_agents``."""
