"""The command line: `pamdp-agents train | evaluate | enjoy | list`, in RL Zoo's words."""

from pamdp_agents.cli.main import main

__all__ = ["main"]
