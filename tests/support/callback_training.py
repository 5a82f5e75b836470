"""A small training loop to try callbacks on."""

import json
from collections import deque
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import RecordEpisodeStatistics

from pamdp_agents.callbacks import BaseCallback, as_callback
from pamdp_agents.logger import Logger, configure


class Levels(gym.Env):
    """Four steps an episode; each pays what the action says. `reports` tells how infos tell of success."""

    observation_space = spaces.Box(0.0, 4.0, (1,), np.float32)
    action_space = spaces.Box(-10.0, 10.0, (1,), np.float32)

    def __init__(self, reports: str = "never") -> None:
        self.reports = reports
        self.episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        done = self.steps == 4
        self.episodes += done
        success = self.episodes % 2 == 0
        told = self.reports == "always" or (self.reports == "success" and success)
        info = {"is_success": success} if done and told else {}
        return np.full(1, self.steps, np.float32), float(action[0]), done, False, info


class Trainer:
    """A training loop as a user might write one for these callbacks; its policy always plays `level`."""

    def __init__(self, env: gym.Env | None = None, logger: Logger | None = None, n_envs: int = 1) -> None:
        self.env = RecordEpisodeStatistics(Levels()) if env is None else env
        self.logger = logger or configure(None, [])
        self.n_envs = n_envs
        self.level = 1.0
        self.num_timesteps = 0
        self._total_timesteps = 0
        self.ep_info_buffer: deque[dict[str, Any]] = deque(maxlen=100)
        self.replay_buffer: Any = []
        self.logs: list[int] = []

    def get_env(self) -> gym.Env | None:
        return self.env

    def get_vec_normalize_env(self) -> None:
        return None

    def predict(self, observation: Any, state: Any = None, **_: Any) -> tuple[Any, Any]:
        return np.array([self.level], np.float32), state

    def save(self, path: str) -> None:
        Path(path).with_suffix(".zip").write_text(json.dumps([self.num_timesteps, self.level]))

    def save_replay_buffer(self, path: str) -> None:
        Path(path + ".npz").write_text(json.dumps(len(self.replay_buffer)))

    def dump_logs(self) -> None:
        self.logs.append(self.num_timesteps)

    def learn(self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True) -> int:
        """Returns the number of steps made."""
        self.num_timesteps = 0 if reset_num_timesteps else self.num_timesteps
        first = self.num_timesteps
        self._total_timesteps = first + total_timesteps
        callback = as_callback(callback)
        callback.init_callback(self)
        callback.on_training_start(locals(), globals())
        callback.on_rollout_start()
        try:
            new_obs, _ = self.env.reset(seed=0)
            while self.num_timesteps < self._total_timesteps:
                actions, _ = self.predict(new_obs)
                new_obs, reward, terminated, truncated, info = self.env.step(actions)
                self.num_timesteps += self.n_envs
                dones, infos = np.full(self.n_envs, terminated or truncated), [info] * self.n_envs
                self.replay_buffer.append(reward)
                if dones.any():
                    self.ep_info_buffer.extend(info["episode"] for info in infos)
                    new_obs, _ = self.env.reset()
                callback.update_locals(locals())
                if not callback.on_step():
                    break
            callback.on_rollout_end()
        finally:
            callback.on_training_end()
        return self.num_timesteps - first


class Recorder(BaseCallback):
    """Notes what happens to it; says stop at call `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__()
        self.stop_at = stop_at
        self.events: list[str] = []
        self.steps: list[int] = []
        self.rewards: list[float] = []

    def _init_callback(self) -> None:
        self.events.append("init")

    def _on_training_start(self) -> None:
        self.events.append("training start")

    def _on_rollout_start(self) -> None:
        self.events.append("rollout start")

    def _on_step(self) -> bool:
        self.steps.append(self.num_timesteps)
        self.rewards.append(self.locals["reward"])
        return self.n_calls != self.stop_at

    def _on_rollout_end(self) -> None:
        self.events.append("rollout end")

    def _on_training_end(self) -> None:
        self.events.append("training end")
