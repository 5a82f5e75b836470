"""What is measured: the bundled environments, and agents of the published sizes, whatever settings learn best."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from pamdp_agents.agents import agent_class
from pamdp_agents.base.off_policy import OffPolicyAgent

ALGORITHMS = ("PDQN", "MPDQN", "SPDQN", "PADDPG")
"""The agents whose updates are measured: those that learn from a replay buffer, with a critic and an actor."""

DOMAINS = {"pamdp/Platform-v0": "platform", "pamdp/Goal-v0": "goal"}

PUBLISHED: dict[str, dict[str, Any]] = {
    "pamdp/Platform-v0": {"policy_kwargs": {"net_arch": [128]}, "batch_size": 128, "buffer_size": 10_000},
    "pamdp/Goal-v0": {"policy_kwargs": {"net_arch": [256]}, "batch_size": 128, "buffer_size": 20_000},
}


def make_agent(
    algorithm: str, env: str | gym.Env | gym.vector.VectorEnv, seed: int = 0, **settings: Any
) -> OffPolicyAgent:
    """Returns a new agent of the class of this name."""
    return agent_class(algorithm)("MlpPolicy", env, seed=seed, **settings)
