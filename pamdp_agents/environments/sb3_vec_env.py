"""Stable-Baselines3's vector environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pamdp_agents.environments.action_masks import METHOD
from pamdp_agents.environments.adapter import EnvironmentAdapter, StepOutcome
from pamdp_agents.environments.recorded import read_flag
from pamdp_agents.environments.returned import read_ends, read_rewards


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

    def _reset(self, seed: int | None, **options: Any) -> Any:
        """Starts n new episodes; returns their first observations."""
        inner, processes = getattr(self.env, "unwrapped", self.env), self._processes
        if processes.exist and processes.asked():  # a call was interrupted
            for i, remote in enumerate(inner.remotes):
                if not remote.poll(processes.patience):
                    raise processes.give_up(i)
                remote.recv()
            processes.resetting = inner.waiting = False
        if seed is not None:
            self.env.seed(seed)
        processes.resetting = True
        try:
            observations = self.env.reset()
        except Exception:  # all have answered, or one has ended
            processes.resetting = False
            raise
        processes.resetting = False
        self.masks.read(self._reset_infos())
        return observations

    def _reset_infos(self) -> list[dict[str, Any]]:
        inner = getattr(self.env, "unwrapped", self.env)  # a wrapper has a list of its own, which stays empty
        return list(getattr(inner, "reset_infos", None) or [{}] * self.num_envs)

    def _has_action_masks(self) -> bool:
        return hasattr(self.env, "has_attr") and bool(self.env.has_attr(METHOD))

    def _ask_action_masks(self) -> Sequence[Any]:
        return self.env.env_method(METHOD)

    def _read_step(self, result: Any) -> StepOutcome:
        """Returns what the step gave."""
        observations, given_rewards, given_dones, infos = result
        rewards = read_rewards(given_rewards, self.num_envs)
        self.episode_starts = dones = read_ends("done", given_dones, self.num_envs)
        truncated = np.array([bool(read_flag(info.get("TimeLimit.truncated"))) for info in infos]) & dones
        final_observations = {
            int(i): infos[i]["terminal_observation"]
            for i in np.flatnonzero(dones)
            if infos[i].get("terminal_observation") is not None
        }
        if dones.any():
            resets = self._reset_infos()
            current = [resets[i] if done else info for i, (info, done) in enumerate(zip(infos, dones, strict=True))]
            self.masks.read(current, {int(i): infos[i] for i in np.flatnonzero(dones)})
        else:
            self.masks.read(infos)
        return StepOutcome(
            observations, final_observations, rewards, dones & ~truncated, truncated, self._all, list(infos)
        )
