"""Recorded episodes of the two domains, and a stand-in for a random generator that replays their draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pamdp_envs.common.env import ParameterizedEnv

DATA = Path(__file__).parent / "data"
TOLERANCE = 1e-9


class ReplayedDraws:
    """Returns recorded draws in order, each only to the method and the size it was recorded for."""

    def __init__(self) -> None:
        self.pending: list[tuple[str, list[float]]] = []

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: int | None = None) -> Any:
        return self._next("normal", size)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: int | None = None) -> Any:
        return self._next("uniform", size)

    def random(self, size: int | None = None) -> Any:
        return self._next("random", size)

    def _next(self, kind: str, size: int | None) -> Any:
        recorded_kind, numbers = self.pending.pop(0)
        assert (kind, size or 1) == (recorded_kind, len(numbers))
        return numbers[0] if size is None else np.array(numbers)


def recorded_episodes(name: str) -> list[dict[str, Any]]:
    return json.loads((DATA / f"{name}.json").read_text())["episodes"]


def replay(env: ParameterizedEnv, episodes: list[dict[str, Any]], observation_key: str) -> int:
    """Step through recorded episodes, check everything they record, and return the number of steps."""
    draws = ReplayedDraws()
    env.np_random = draws
    steps = 0
    for episode in episodes:
        draws.pending = list(episode["reset_draws"])
        observation, _ = env.reset()
        assert not draws.pending
        np.testing.assert_allclose(observation, episode[f"reset_{observation_key}"], rtol=0, atol=TOLERANCE)
        for step in episode["steps"]:
            draws.pending = list(step["draws"])
            parameters: list[Any] = [None, None, None]
            parameters[step["action"]] = step["parameters"]
            observation, reward, terminated, truncated, info = env.step((step["action"], tuple(parameters)))
            assert not draws.pending
            np.testing.assert_allclose(observation, step[observation_key], rtol=0, atol=TOLERANCE)
            assert abs(reward - step["reward"]) <= TOLERANCE
            assert (terminated, truncated, info["substeps"]) == (step["terminated"], False, step["substeps"])
            assert info.get("is_success", False) is (step["reward"] == 50)
            steps += 1
    return steps
