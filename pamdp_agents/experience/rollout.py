"""The rollout that on-policy agents learn from: some steps of all environments, and their advantages."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pamdp_agents.learning.flat import FlatLayout

MOST_ROWS = 2**24  # float32 counts no further, and rows are packed with their numbers


class RolloutBuffer:
    """The steps of n environments since the last update, as packed float32 rows.

    Args:
        n_steps: Steps of each environment.
        n_envs: n.
        layout: Layout of a row: `s`, `k`, `x` and `output`, as the agent wants them, and `FOLLOWING`.

    Attributes:
        n_steps: As given.
        n_envs: As given.
        layout: As given.
        rows: float32 [n_steps, n_envs, layout.size].
        pos: Steps stored.
    """

    FOLLOWING = ("reward", "ended", "played", "advantage", "return")
    """What follows a decision: the reward (where an episode was cut off, with γ times the value of its last
    observation), whether the episode ended in any way, whether the step was one (and not only a reset), and what
    `finish` computes."""

    def __init__(self, n_steps: int, n_envs: int, layout: FlatLayout):
        if n_steps * n_envs > MOST_ROWS:
            raise ValueError(
                f"n_steps={n_steps} steps of {n_envs} environments are more than the {MOST_ROWS} transitions of the "
                "largest rollout"
            )
        self.n_steps, self.n_envs, self.layout = n_steps, n_envs, layout
        try:
            self.rows = np.zeros((n_steps, n_envs, layout.size), np.float32)
        except (MemoryError, ValueError):
            size = 4e-9 * n_steps * n_envs * layout.size
            raise MemoryError(f"n_steps={n_steps} takes {size:,.0f} GB of memory; choose fewer") from None
        self._columns = {
            name: layout.places[name].start if shape == () else layout.places[name]
            for name, shape in layout.shapes.items()
        }
        self.pos = 0

    @property
    def full(self) -> bool:
        """Whether all steps are stored."""
        return self.pos == self.n_steps

    def part(self, name: str) -> NDArray[np.float32]:
        """Returns a part of all stored steps, a view: [pos, n_envs], or [pos, n_envs, size]."""
        return self.rows[: self.pos, :, self._columns[name]]

    def reset(self) -> None:
        """Forgets all steps."""
        self.pos = 0

    def store(self, **parts: NDArray) -> None:
        """Stores one step of every environment: `s`, `k`, `x`, `output`, `reward`, `ended` and `played`."""
        row = self.rows[self.pos]
        for name, part in parts.items():
            row[:, self._columns[name]] = part
        self.pos += 1

    def finish(self, values: NDArray, last_values: NDArray, gamma: float, gae_lambda: float) -> None:
        """Computes advantages and returns, by generalised advantage estimation.

        Args:
            values: V of every observation acted on, float [n_steps, n_envs].
            last_values: V of the observations after the last step, float [n_envs]; not used where that ended an
                episode.
            gamma: Discount factor γ.
            gae_lambda: λ.

        References:
            Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
            (arXiv 1506.02438), equation 16.
        """
        values = np.asarray(values, np.float64)
        goes_on = 1.0 - self.part("ended").astype(np.float64)
        following = np.concatenate([values[1:], np.asarray(last_values, np.float64)[None]])
        advantages = self.part("reward") + gamma * goes_on * following - values
        # A step that only reset an environment follows the end of an episode, so that nothing comes through it.
        played = self.part("played").astype(np.float64)
        advantages *= played
        decay = gamma * gae_lambda * goes_on * played
        for t in range(self.n_steps - 2, -1, -1):
            advantages[t] += decay[t] * advantages[t + 1]
        self.part("advantage")[...] = advantages
        self.part("return")[...] = advantages + values

    def packed(self, orders: NDArray) -> NDArray[np.float32]:
        """Returns all rows one after the other, each with its place in orders, float32 [rows, layout.size + epochs].

        Args:
            orders: The order of the rows in each epoch, int [epochs, rows], of which column i stands beside row i.
        """
        return np.concatenate([self.rows.reshape(-1, self.layout.size), orders.T], 1, dtype=np.float32)

    def draw_orders(self, epochs: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draws the order of the rows in each epoch, int64 [epochs, rows]: first those of steps that were played."""
        played = self.rows[:, :, self._columns["played"]].ravel() > 0
        those, others = played.nonzero()[0], (~played).nonzero()[0]
        return np.stack([np.concatenate([rng.permutation(those), others]) for _ in range(epochs)])

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays; nothing if there is nothing stored."""
        return {f"rollout_{name}": self.part(name).copy() for name in self.layout.shapes} if self.pos else {}

    @classmethod
    def restored(
        cls, arrays: Mapping[str, np.ndarray], n_steps: int, layout: FlatLayout, options: tuple[int, ...]
    ) -> RolloutBuffer:
        """Returns a buffer with what `state` returned.

        Args:
            arrays: What was returned, among others.
            n_steps: Steps of each environment.
            layout: Layout of a row.
            options: How many options each discrete variable has.

        Raises:
            ValueError: It is of another layout, or holds what no agent stores.
        """
        pos, n_envs = (*arrays["rollout_s"].shape, 0, 0)[:2]
        if not (0 < pos <= n_steps and n_envs > 0):
            raise ValueError(f"the rollout has {pos} steps of {n_envs} environments, of n_steps={n_steps}")
        made = cls(n_steps, n_envs, layout)
        made.pos = pos
        for name in layout.shapes:
            array, own = arrays.get(f"rollout_{name}", np.zeros(0)), made.part(name)
            if array.dtype != np.float32 or array.shape != own.shape or not np.isfinite(array).all():
                raise ValueError(f"rollout_{name} must be finite, float32 and of shape {own.shape}, got {array!r}")
            own[...] = array
        k = made.part("k")
        if not ((k == np.rint(k)) & (k >= 0) & (k < np.asarray(options))).all():
            raise ValueError(f"rollout_k must be discrete choices below {options}")
        for name in ("ended", "played"):
            if not np.isin(made.part(name), (0, 1)).all():
                raise ValueError(f"rollout_{name} must be 0 or 1")
        return made
