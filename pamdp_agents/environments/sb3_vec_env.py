"""Stable-Baselines3's vector environments."""

from __future__ import annotations

from typing import Any

import numpy as np

from pamdp_agents.environments.adapter import EnvironmentAdapter, StepOutcome
from pamdp_agents.environments.recorded import read_flag


class SB3VectorEnvironment(EnvironmentAdapter):
    """Stable-Baselines3's `VecEnv`, or anything with its interface."""

    def __init__(self, env: Any) -> None:
        super().__init__(env, env.num_envs)
        self._is_async = hasattr(env, "step_async")

    @property
    def name(self) -> str:
        """The environments' id, or the vector environment's class."""
        # Environments in other processes are not asked: their specs may not come through a pipe.
        inner = next(iter(getattr(self.env.unwrapped, "envs", ())), None)
        return inner.spec.id if inner is not None and inner.spec else type(self.env.unwrapped).__name__

    def reset(self, seed: int | None) -> Any:
        """Starts n new episodes; returns their first observations."""
        self.episode_starts = self._all
        inner = getattr(self.env, "unwrapped", self.env)
        if getattr(inner, "waiting", False):  # for a step in other processes that was interrupted
            inner.step_wait()
        if seed is not None:
            self.env.seed(seed)
        return self.env.reset()

    def start_step(self, actions: Any) -> None:
        """Takes a list of n actions."""
        self._send(actions)

    def finish_step(self) -> StepOutcome:
        """Returns what the step gave."""
        observations, rewards, dones, infos = self._receive()
        self.episode_starts = dones = np.array(dones, dtype=bool)
        truncated = np.array([bool(read_flag(info.get("TimeLimit.truncated"))) for info in infos]) & dones
        final_observations = {
            int(i): infos[i]["terminal_observation"]
            for i in np.flatnonzero(dones)
            if infos[i].get("terminal_observation") is not None
        }
        rewards = np.asarray(rewards, dtype=np.float64)
        return StepOutcome(
            observations, final_observations, rewards, dones & ~truncated, truncated, self._all, list(infos)
        )
