"""Agents for parameterised action spaces (PAMDPs), with Stable-Baselines3's interface, in TensorFlow, on Gymnasium."""

import pamdp_envs  # noqa: F401  # registers pamdp/Platform-v0, pamdp/Goal-v0 and pamdp/Goal-v1

from pamdp_agents.agents.mpdqn import MPDQN
from pamdp_agents.agents.pdqn import PDQN

__all__ = ["MPDQN", "PDQN"]
