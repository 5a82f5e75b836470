"""Replay buffer: transitions as packed float32 rows, so that inserting is one copy and sampling one gather."""

from __future__ import annotations

import numpy as np

from pamdp_agents.experience.transition import Batch, TransitionLayout


class ReplayBuffer:
    """The last `buffer_size` transitions, in a ring.

    Args:
        buffer_size: Number of transitions kept.
        layout: Layout of a row.
        rng: Draws the samples.
    """

    def __init__(self, buffer_size: int, layout: TransitionLayout, rng: np.random.Generator):
        self.buffer_size, self.layout, self.rng = buffer_size, layout, rng
        try:
            self.rows = np.zeros((buffer_size, layout.size), np.float32)
        except MemoryError:
            size = buffer_size * layout.size * 4 / 1e9
            raise MemoryError(f"buffer_size={buffer_size} takes {size:,.0f} GB of memory; choose fewer") from None
        self.position, self.full = 0, False

    def __len__(self) -> int:
        return self.buffer_size if self.full else self.position

    def add(self, transitions: Batch) -> None:
        """Stores n transitions; the oldest go when the buffer is full."""
        n = len(transitions.k)
        room = self.buffer_size - self.position
        if n > room:
            self.add(Batch(*(part[:room] for part in transitions)))
            self.add(Batch(*(part[room:] for part in transitions)))
            return
        rows = self.layout.split(self.rows[self.position : self.position + n])
        for place, part in zip(rows, transitions, strict=True):
            place[...] = part
        self.position += n
        if self.position == self.buffer_size:
            self.position, self.full = 0, True

    def sample(self, batches: int, batch_size: int) -> np.ndarray:
        """Draws batches uniformly, with replacement: float32 [batches, batch_size, layout.size]."""
        indices = self.rng.integers(0, len(self), batches * batch_size)
        return self.rows.take(indices, axis=0).reshape(batches, batch_size, -1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        return {
            "rows": self.rows[: len(self)],
            "position": np.array(self.position),
            "full": np.array(self.full),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Takes back what `state` returned.

        Raises:
            ValueError: The rows are of another layout, or more than this buffer holds.
        """
        rows, position, full = state["rows"], int(state["position"]), bool(state["full"])
        if rows.ndim != 2 or rows.shape[1] != self.layout.size:
            raise ValueError(
                f"replay buffer holds rows of shape {rows.shape[1:]}, this agent's have {(self.layout.size,)}: it was "
                "saved for other observation or action spaces"
            )
        fits = position < len(rows) == self.buffer_size if full else position == len(rows) < self.buffer_size
        if not fits or position < 0 or not np.isfinite(rows).all():
            raise ValueError(
                f"replay buffer holds {len(rows)} transitions at position {position}, which does not fit this agent's "
                f"buffer_size={self.buffer_size}, or numbers that are not finite: load it with the buffer_size it was "
                "saved with"
            )
        self.rows[: len(rows)] = rows
        self.position, self.full = position, full
