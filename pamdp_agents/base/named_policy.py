"""What `agent.policy` is: the policy's name, which also acts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym


class NamedPolicy(str):
    """The policy's name, with what callbacks and evaluations ask of Stable-Baselines3's policy objects.

    Args:
        name: The name.
        agent: The agent whose policy it is.
    """

    _agent: Any

    def __new__(cls, name: str, agent: Any) -> NamedPolicy:
        """Returns the name, which knows the agent."""
        made = super().__new__(cls, name)
        made._agent = agent
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, Any]:
        """Returns what the agent's `predict` returns."""
        return self._agent.predict(observation, state, episode_start, deterministic, action_masks)

    @property
    def observation_space(self) -> gym.Space:
        """The agent's observation space."""
        return self._agent.observation_space

    @property
    def action_space(self) -> gym.Space:
        """The agent's action space."""
        return self._agent.action_space

    @property
    def device(self) -> str:
        """The agent's device."""
        return self._agent.device
