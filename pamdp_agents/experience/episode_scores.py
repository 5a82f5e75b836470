"""What the episodic natural gradient is made of, for each whole episode."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.experience.sarsa_steps import check_array

Float64 = NDArray[np.float64]


class EpisodeScores:
    """Sums of scores (gradients of log-probabilities), features of the first state, and returns of whole episodes.

    Args:
        shape: Shape of a score.
        n_features: Number of features of an episode's first state.
    """

    def __init__(self, shape: tuple[int, ...], n_features: int) -> None:
        self._shape, self._n_features = shape, n_features
        self.clear()

    def __len__(self) -> int:
        return len(self._returns)

    def clear(self) -> None:
        """Forgets all episodes, and the one under way."""
        self._scores: list[Float64] = []
        self._features: list[Float64] = []
        self._returns: list[float] = []
        self.begin_episode(np.zeros(self._n_features))

    def begin_episode(self, features: Float64) -> None:
        """Begins an episode, given its first state's features; one under way is forgotten."""
        self._score, self._first, self._return = np.zeros(self._shape), features, 0.0

    def add(self, score: Float64, reward: float) -> None:
        """Adds a step of the episode under way."""
        self._score += score
        self._return += reward

    def end_episode(self) -> None:
        """Keeps the episode under way."""
        self._scores.append(self._score)
        self._features.append(self._first)
        self._returns.append(self._return)
        self.begin_episode(np.zeros(self._n_features))

    def stacked(self) -> tuple[Float64, Float64, Float64]:
        """Returns sums of scores [n, …], features [n, B] and returns [n] of the n whole episodes, float64."""
        scores = np.array(self._scores).reshape(len(self), *self._shape)
        return scores, np.array(self._features).reshape(len(self), self._n_features), np.array(self._returns, float)

    def state(self) -> dict[str, np.ndarray]:
        """Returns all of it as arrays, the episode under way as the last."""
        scores, features, returns = self.stacked()
        return {
            "episode_scores": np.concatenate([scores, self._score[None]]),
            "episode_features": np.concatenate([features, self._first[None]]),
            "episode_sums": np.append(returns, self._return),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Takes back what `state` returned.

        Raises:
            KeyError: A part is missing.
            ValueError: A part has another shape or type, or is not finite.
        """
        n = len(np.atleast_1d(state["episode_sums"]))
        shapes = {"episode_scores": (n, *self._shape), "episode_features": (n, self._n_features), "episode_sums": (n,)}
        if not n:
            raise ValueError("episode_sums must hold the episode under way, got none")
        scores, features, sums = (list(check_array(state, name, np.float64, shape)) for name, shape in shapes.items())
        self._score, self._first, self._return = scores.pop().copy(), features.pop(), float(sums.pop())
        self._scores, self._features, self._returns = scores, features, [float(each) for each in sums]
