"""Transitions as packed float32 rows in a ring, so that inserting is one copy and sampling one gather."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pamdp_agents.checks import warn_user
from pamdp_agents.experience.memory import available_memory
from pamdp_agents.experience.transition import Transition, TransitionLayout

OTHER_SPACES = "it was saved for other observation or action spaces, or by another agent"


class TransitionRing:
    """The last `buffer_size` transitions, as training takes them.

    Args:
        buffer_size: Number of transitions kept.
        layout: Layout of a row.
        rng: Draws the samples.

    Attributes:
        buffer_size: As given.
        layout: As given.
        rng: As given.
        rows: The transitions, packed, float32 [buffer_size, layout.size]; from `len` on they are 0.
        pos: The row of the next transition.
        full: Whether all rows are in use; then the one at `pos` is the oldest.
    """

    def __init__(self, buffer_size: int, layout: TransitionLayout, rng: np.random.Generator):
        self.buffer_size, self.layout, self.rng = buffer_size, layout, rng
        size, available = 4 * buffer_size * layout.size, available_memory()
        if available is not None and size > available:
            warn_user(
                f"buffer_size={buffer_size} transitions take {size / 1e9:,.1f} GB of memory once they are there, and "
                f"{available / 1e9:,.1f} GB are available: training may be killed when the buffer fills; choose a "
                "smaller buffer_size"
            )
        try:
            self.rows = np.zeros((buffer_size, layout.size), np.float32)
        except (MemoryError, ValueError):  # the latter where no address is so large
            raise MemoryError(f"buffer_size={buffer_size} takes {size / 1e9:,.0f} GB of memory; choose fewer") from None
        self.pos, self.full = 0, False

    def __len__(self) -> int:
        return self.buffer_size if self.full else self.pos

    def store(self, transitions: Transition) -> None:
        """Stores n transitions, arrays; the oldest go when the buffer is full."""
        n, room = len(transitions.k), self.buffer_size - self.pos
        if n > room:
            self.store(select(transitions, slice(room)))
            self.store(select(transitions, slice(room, None)))
            return
        self.layout.pack(self.rows[self.pos : self.pos + n], transitions)
        self.pos += n
        if self.pos == self.buffer_size:
            self.pos, self.full = 0, True

    def draw(self, batches: int, batch_size: int) -> np.ndarray:
        """Draws batches uniformly, with replacement: float32 [batches, batch_size, layout.size].

        Raises:
            MemoryError: There is no memory for so many.
        """
        try:
            indices = self.rng.integers(0, len(self), batches * batch_size)
            return self.rows.take(indices, axis=0).reshape(batches, batch_size, -1)
        except (MemoryError, ValueError):  # the latter where no address is so large
            raise MemoryError(
                f"batch_size={batch_size} transitions for each of {batches} updates take "
                f"{4e-9 * batches * batch_size * self.layout.size:,.0f} GB of memory at once; choose fewer"
            ) from None

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        rows = self.rows[: len(self)]
        parts = {name: rows[:, place] for name, place in self.layout.places.items()}
        return parts | {"position": np.array(self.pos), "full": np.array(self.full)}

    def restore(self, state: Mapping[str, np.ndarray], n_actions: int) -> None:
        """Takes back what `state` returned, also what it returned when rows were saved whole and held `terminated`.

        What a smaller buffer held goes in whole. Of a larger one's, the newest part does, with a warning.

        Args:
            state: What was returned.
            n_actions: K; discrete actions are 0 … K − 1.

        Raises:
            KeyError: A part is missing.
            ValueError: The parts are of another layout, or hold what no agent stores. The buffer is as it was then.
        """
        full, position = _scalar(state, "full", "b"), _scalar(state, "position", "iu")
        rows = self._terminated_to_discount(state["rows"]) if "rows" in state else self._rows_of(state)
        fits = 0 <= position < len(rows) if full else position == len(rows)
        if not fits:
            raise ValueError(f"replay buffer holds {len(rows)} transitions, which position={position} does not fit")
        self._check_values(rows, n_actions)
        n = min(len(rows), self.buffer_size)
        if n < len(rows):
            warn_user(
                f"the saved replay buffer holds {len(rows)} transitions, this one takes "
                f"buffer_size={self.buffer_size}: the newest {n} are kept"
            )
        if full and n == len(rows) == self.buffer_size:  # the same ring
            self.rows[:], self.pos, self.full = rows, int(position), True
            return
        oldest = int(position) if full else 0
        self.rows[: len(self)] = 0  # beyond it they are, and not yet in memory
        self.rows[:n] = np.concatenate([rows[oldest:], rows[:oldest]])[len(rows) - n :]
        self.pos, self.full = n % self.buffer_size, n == self.buffer_size

    def _check_values(self, rows: np.ndarray, n_actions: int) -> None:
        parts = {name: rows[:, place] for name, place in self.layout.places.items()}
        if not np.isfinite(rows).all():
            raise ValueError("replay buffer holds numbers that are not finite")
        if not np.isin(parts["k"], np.arange(n_actions)).all():
            raise ValueError(f"replay buffer holds discrete actions that are not in 0..{n_actions - 1}")
        if (np.abs(parts["x"]) > 1.0).any():
            raise ValueError("replay buffer holds action-parameters that are not in [-1, 1], to which they are scaled")
        if not ((parts["discount"] >= 0.0) & (parts["discount"] <= 1.0)).all():
            raise ValueError("replay buffer holds a discount that is not in [0, 1]")

    def _rows_of(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        if {"position", "full", "k"} <= state.keys() != self.layout.places.keys() | {"position", "full"}:
            raise ValueError(
                f"replay buffer holds the parts {sorted(state)}, this agent's has {sorted(self.layout.places)}; "
                f"{OTHER_SPACES}"
            )
        parts = {name: np.asarray(state[name]) for name in self.layout.places}
        n = len(np.atleast_1d(parts["k"]))
        own = {name: (n, place.stop - place.start) for name, place in self.layout.places.items()}
        given = {name: part.shape for name, part in parts.items()}
        if given != own:
            raise ValueError(f"replay buffer holds parts of shapes {given}, this agent's have {own}; {OTHER_SPACES}")
        if wrong := {name: str(part.dtype) for name, part in parts.items() if part.dtype != np.float32}:
            raise ValueError(f"replay buffer holds parts of the types {wrong}; they must be float32")
        return np.concatenate(list(parts.values()), 1)

    def _terminated_to_discount(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != self.layout.size or self.layout.extras or rows.dtype != np.float32:
            raise ValueError(
                f"replay buffer holds rows of shape {rows.shape[1:]} and type {rows.dtype}, this agent's have "
                f"{(self.layout.size,)} and float32: {OTHER_SPACES}"
            )
        rows = rows.copy()
        rows[:, self.layout.places["discount"]] = 1 - rows[:, self.layout.places["discount"]]
        return rows


def select(transitions: Transition, which: slice | np.ndarray) -> Transition:
    """Returns some of the transitions."""
    s, k, x, r, s2, discount = (part[which] for part in transitions[:-1])
    return Transition(s, k, x, r, s2, discount, {name: part[which] for name, part in transitions.extras.items()})


def _scalar(state: Mapping[str, np.ndarray], name: str, kinds: str) -> np.ndarray:
    value = np.asarray(state[name])
    if value.shape != () or value.dtype.kind not in kinds:
        raise ValueError(f"replay buffer has a {name} of shape {value.shape} and type {value.dtype}: it is damaged")
    return value
