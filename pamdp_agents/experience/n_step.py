"""N-step returns: the steps of each environment wait until n are there, or their episode has ended."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from pamdp_agents.experience.memory import available_memory
from pamdp_agents.experience.transition import NEXT_MASK, Transition, TransitionLayout


class NStepReturns:
    """Makes transitions of up to n steps of single steps.

    A transition of m steps has the first one's observation and action, the reward Σ_i γ^i·r_i of all of them, the last
    one's next observation, and as its discount γ^(m−1) times the last one's: the update multiplies by γ once more.
    m is n, but for the last n steps of an episode: it goes on to the episode's end, however the episode ends.

    Steps wait as they were made, so that γ is that of the moment at which their return is complete.

    Args:
        n_steps: n.
        gamma: γ.
        layout: Layout of a row.

    Attributes:
        n_steps: As given.
        gamma: γ of the returns that are completed from now on.
    """

    def __init__(self, n_steps: int, gamma: float, layout: TransitionLayout):
        self.n_steps, self.gamma, self._layout = n_steps, gamma, layout
        # What is of the last step: its next observation, and what is said of that.
        self._of_last = [layout.places[name] for name in ("s2", NEXT_MASK) if name in layout.places]
        self._reward, self._discount = (layout.places[name].start for name in ("r", "discount"))
        self.wait_in(1)

    def __len__(self) -> int:
        return int(self._counts.sum())

    @property
    def counts(self) -> np.ndarray:
        """How many steps of each environment wait, int64 [environments]; a copy."""
        return self._counts.copy()

    @property
    def rows(self) -> np.ndarray:
        """The steps that wait, packed, environment after environment, float32 [len, layout.size]; a copy."""
        envs, i = np.arange(len(self._counts)), np.arange(self._counts.max())
        return self._rows[envs[:, None], (self._first[:, None] + i) % self.n_steps][i < self._counts[:, None]]

    def wait_in(self, n_envs: int) -> None:
        """Forgets all steps, and waits for those of so many environments."""
        # The last n of each environment, in a ring: the oldest is at `first`.
        shape = n_envs, self.n_steps, self._layout.size
        size, available = 4 * math.prod(shape), available_memory()
        if available is not None and size > available:
            raise MemoryError(
                f"n_steps={self.n_steps} takes {size / 1e9:,.0f} GB of memory, and {available / 1e9:,.0f} GB are "
                "available; choose fewer"
            )
        self._rows = np.zeros(shape, np.float32)
        self._first, self._counts = np.zeros(n_envs, np.int64), np.zeros(n_envs, np.int64)

    def rescale(self, factor: float) -> None:
        """Multiplies the rewards of the steps that wait."""
        self._rows[..., self._reward] *= factor

    def add(self, transitions: Transition, envs: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Adds one step of some environments.

        Args:
            transitions: The steps.
            envs: Their environments, int [m], each at most once.
            ended: Whether their episodes ended with them, bool [m].

        Returns:
            The transitions that are complete, packed, float32 [complete, layout.size]: environment after environment,
            and of each the oldest first.
        """
        rows = np.empty((len(envs), self._layout.size), np.float32)
        self._layout.pack(rows, transitions)
        return self.add_rows(rows, envs, ended)

    def add_rows(self, rows: np.ndarray, envs: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Adds one step of some environments, packed, float32 [m, layout.size]; see `add`."""
        self._rows[envs, (self._first[envs] + self._counts[envs]) % self.n_steps] = rows
        self._counts[envs] += 1
        due = ended | (self._counts[envs] == self.n_steps)
        return self._take(envs[due], ended[due])

    def cut_off(self, envs: np.ndarray) -> np.ndarray:
        """Returns the transitions of the steps that wait in some environments, as `add` does if their episodes end.

        They end as if they had been truncated after the last step.
        """
        envs = envs[self._counts[envs] > 0]
        return self._take(envs, np.ones(len(envs), bool))

    def cut_off_unless_continued(self, observations: np.ndarray, episode_lengths: np.ndarray) -> np.ndarray:
        """Returns the transitions of the steps after which environments do not go on, as `cut_off` does.

        Args:
            observations: The current observations as they are stored, float32 [environments, D].
            episode_lengths: Steps made of the current episodes, int [environments].
        """
        own, n = len(self._counts), len(episode_lengths)
        going_on = np.zeros(own, bool)
        if own == n:
            last = self._rows[np.arange(n), (self._first + self._counts - 1) % self.n_steps, self._layout.places["s2"]]
            going_on = (episode_lengths >= self._counts) & (last == observations).all(1)
        complete = self.cut_off((~going_on).nonzero()[0])
        if own != n:
            self.wait_in(n)
        return complete

    def state(self) -> dict[str, np.ndarray]:
        """Returns the steps that wait, by their parts, and `counts`, as arrays."""
        return self._layout.parts(self.rows) | {"counts": self.counts}

    def refill(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Waits with other steps, as `rows` and `counts` were, in place of its own.

        Returns:
            The transitions that are complete, since this n is smaller than theirs; see `add`.
        """
        self.wait_in(len(counts))
        steps, ended = np.split(rows, np.cumsum(counts)[:-1]), np.zeros(1, bool)
        complete = [
            self.add_rows(step, np.array([i]), ended) for i, own in enumerate(steps) for step in own[:, None, :]
        ]
        return np.concatenate([rows[:0], *complete])

    def _take(self, envs: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Takes out the oldest step of each environment, or all of them where the episode ended, with their returns."""
        if not len(envs):
            return self._rows[:0, 0]
        counts = self._counts[envs, None]
        i = np.arange(counts.max())
        order = (self._first[envs, None] + i) % self.n_steps  # places from the oldest step on
        taken = (i < counts) & (ended[:, None] | (i == 0))
        which, oldest = taken.nonzero()
        rows = self._rows[envs[which], order[which, oldest]]
        returns = np.where(i < counts, self._rows[envs[:, None], order, self._reward], 0.0).astype(np.float64)
        gamma = float(self.gamma)
        if ended.any():
            for step in i[-2::-1]:
                returns[:, step] += gamma * returns[:, step + 1]
        else:  # the oldest only
            returns[:, 0] = returns @ gamma**i
        last = self._rows[envs, order[np.arange(len(envs)), counts[:, 0] - 1]][which]
        rows[:, self._reward] = returns[taken]
        for place in self._of_last:
            rows[:, place] = last[:, place]
        rows[:, self._discount] = last[:, self._discount] * gamma ** (counts[which, 0] - 1 - oldest)
        left = np.where(ended, counts[:, 0], 1)
        self._first[envs] = (self._first[envs] + left) % self.n_steps
        self._counts[envs] -= left
        return rows


def read_counts(state: Mapping[str, np.ndarray], n_rows: int) -> np.ndarray:
    """Returns from what `NStepReturns.state` returned how many steps of each environment wait.

    Raises:
        KeyError: It is missing.
        ValueError: It is damaged.
    """
    counts = np.asarray(state["counts"])
    if counts.ndim != 1 or counts.dtype != np.int64 or (counts < 0).any() or counts.sum() != n_rows or not len(counts):
        raise ValueError(
            f"replay buffer holds {n_rows} steps that wait for their returns, which counts={counts} does not fit"
        )
    return counts
