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

    def draw(self, batches: int, batch_size: int, progress_remaining: float = 1.0) -> np.ndarray:
        """Draws batches uniformly, with replacement, whatever remains: float32 [batches, batch_size, layout.size]."""
        indices = self.rng.integers(0, len(self), batches * batch_size)
        return self.rows.take(indices, axis=0).reshape(batches, batch_size, -1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        places = {"position": np.array(self.pos), "full": np.array(self.full)}
        return self.layout.parts(self.rows[: len(self)]) | places

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
        full, position = read_scalar(state, "full", "b"), read_scalar(state, "position", "iu")
        parts = {name: part for name, part in state.items() if name not in ("full", "position")}
        rows = self._terminated_to_discount(parts["rows"]) if "rows" in parts else self._rows_of(parts)
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
        self.rows[: len(self)] = 0  # beyond it they are, and not yet in memory
        self.rows[:n] = self.arranged(rows, state)
        is_same_ring = full and n == len(rows) == self.buffer_size
        self.pos, self.full = int(position) if is_same_ring else n % self.buffer_size, n == self.buffer_size

    def arranged(self, values: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns what is saved of each transition, [n, …], of those and in the order that `restore` puts them in."""
        n, full, position = len(values), bool(state["full"]), int(state["position"])
        if full and n != self.buffer_size:  # from the oldest on
            values = np.concatenate([values[position:], values[:position]])
        return values[max(n - self.buffer_size, 0) :]

    def _check_values(self, rows: np.ndarray, n_actions: int) -> None:
        """Raises ValueError if rows hold what no agent stores."""
        parts = self.layout.parts(rows)
        if not np.isfinite(rows).all():
            raise ValueError("replay buffer holds numbers that are not finite")
        if not np.isin(parts["k"], np.arange(n_actions)).all():
            raise ValueError(f"replay buffer holds discrete actions that are not in 0..{n_actions - 1}")
        if (np.abs(parts["x"]) > 1.0).any():
            raise ValueError("replay buffer holds action-parameters that are not in [-1, 1], to which they are scaled")
        if not ((parts["discount"] >= 0.0) & (parts["discount"] <= 1.0)).all():
            raise ValueError("replay buffer holds a discount that is not in [0, 1]")

    def _rows_of(self, given: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns rows of their parts, and raises ValueError if these are of another layout."""
        if "k" in given and given.keys() != self.layout.places.keys():
            raise ValueError(
                f"replay buffer holds the parts {sorted(given)}, this agent's has {sorted(self.layout.places)}; "
                f"{OTHER_SPACES}"
            )
        parts = {name: np.asarray(given[name]) for name in self.layout.places}
        n = len(np.atleast_1d(parts["k"]))
        own = {name: (n, place.stop - place.start) for name, place in self.layout.places.items()}
        shapes = {name: part.shape for name, part in parts.items()}
        if shapes != own:
            raise ValueError(f"replay buffer holds parts of shapes {shapes}, this agent's have {own}; {OTHER_SPACES}")
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


def read_scalar(state: Mapping[str, np.ndarray], name: str, kinds: str) -> np.ndarray:
    """Returns a single value of a saved buffer.

    Args:
        state: What was saved.
        name: Its name.
        kinds: The kinds of NumPy's types that it may be of.

    Raises:
        KeyError: It is missing.
        ValueError: It is no single value, or of another type.
    """
    value = np.asarray(state[name])
    if value.shape != () or value.dtype.kind not in kinds:
        raise ValueError(f"replay buffer has a {name} of shape {value.shape} and type {value.dtype}: it is damaged")
    return value
