"""Environments of every kind behind one interface, and the agent's side of them."""

from pamdp_agents.environments.gymnasium_vector import batch_actions

__all__ = ["batch_actions"]
