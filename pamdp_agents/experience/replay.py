"""Replay buffer: transitions as packed float32 rows, so that inserting is one copy and sampling one gather."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pamdp_agents.experience.transition import Transition, TransitionLayout

OTHER_SPACES = "it was saved for other observation or action spaces, or by another agent"


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

    def add(self, transitions: Transition) -> None:
        """Stores n transitions, arrays; the oldest go when the buffer is full."""
        n, room = len(transitions.k), self.buffer_size - self.position
        if n > room:
            self.add(select(transitions, slice(room)))
            self.add(select(transitions, slice(room, None)))
            return
        self.layout.pack(self.rows[self.position : self.position + n], transitions)
        self.position += n
        if self.position == self.buffer_size:
            self.position, self.full = 0, True

    def sample(self, batches: int, batch_size: int) -> np.ndarray:
        """Draws batches uniformly, with replacement: float32 [batches, batch_size, layout.size]."""
        indices = self.rng.integers(0, len(self), batches * batch_size)
        return self.rows.take(indices, axis=0).reshape(batches, batch_size, -1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        rows = self.rows[: len(self)]
        parts = {name: rows[:, place] for name, place in self.layout.places.items()}
        return parts | {"position": np.array(self.position), "full": np.array(self.full)}

    def restore(self, state: Mapping[str, np.ndarray], n_actions: int) -> None:
        """Takes back what `state` returned, also what it returned when rows were saved whole and held `terminated`.

        Args:
            state: What was returned.
            n_actions: K; discrete actions are 0 … K − 1.

        Raises:
            KeyError: A part is missing.
            ValueError: The parts are of another layout, or more than this buffer holds. It is as it was then.
        """
        position, full = int(state["position"]), bool(state["full"])
        rows = self._terminated_to_discount(state["rows"]) if "rows" in state else self._rows_of(state)
        fits = position < len(rows) == self.buffer_size if full else position == len(rows) < self.buffer_size
        if not fits or position < 0 or not np.isfinite(rows).all():
            raise ValueError(
                f"replay buffer holds {len(rows)} transitions at position {position}, which does not fit this agent's "
                f"buffer_size={self.buffer_size}, or numbers that are not finite: load it with the buffer_size it was "
                "saved with"
            )
        if not np.isin(rows[:, self.layout.places["k"]], np.arange(n_actions)).all():
            raise ValueError(f"replay buffer holds discrete actions that are not in 0..{n_actions - 1}")
        self.rows[: len(rows)] = rows
        self.position, self.full = position, full

    def _rows_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        if {"position", "full", "k"} <= state.keys() != self.layout.places.keys() | {"position", "full"}:
            raise ValueError(
                f"replay buffer holds the parts {sorted(state)}, this agent's has {sorted(self.layout.places)}; "
                f"{OTHER_SPACES}"
            )
        parts = {name: state[name] for name in self.layout.places}
        n = len(np.atleast_1d(parts["k"]))
        own = {name: (n, place.stop - place.start) for name, place in self.layout.places.items()}
        given = {name: np.shape(part) for name, part in parts.items()}
        if given != own:
            raise ValueError(f"replay buffer holds parts of shapes {given}, this agent's have {own}; {OTHER_SPACES}")
        return np.concatenate(list(parts.values()), 1, dtype=np.float32, casting="same_kind")

    def _terminated_to_discount(self, rows: np.ndarray) -> np.ndarray:
        if rows.ndim != 2 or rows.shape[1] != self.layout.size or self.layout.extras:
            raise ValueError(
                f"replay buffer holds rows of shape {rows.shape[1:]}, this agent's have {(self.layout.size,)}: "
                f"{OTHER_SPACES}"
            )
        rows = rows.copy()
        rows[:, self.layout.places["discount"]] = 1 - rows[:, self.layout.places["discount"]]
        return rows


def select(transitions: Transition, which: slice | np.ndarray) -> Transition:
    """Returns some of the transitions."""
    s, k, x, r, s2, discount = (part[which] for part in transitions[:-1])
    return Transition(s, k, x, r, s2, discount, {name: part[which] for name, part in transitions.extras.items()})
