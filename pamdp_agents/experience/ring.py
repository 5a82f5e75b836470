"""Transitions as packed float32 rows in a ring, so that inserting is one copy and sampling one gather."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pamdp_agents.checks import warn_user
from pamdp_agents.experience.images import ImageCodec, Images, SavedImages, SharedImages
from pamdp_agents.experience.memory import available_memory
from pamdp_agents.experience.transition import NEXT_MASK, Transition, TransitionLayout

IMAGE_PARTS = ("s_images", "s2_images", "s2_images_at")
OTHER_SPACES = "it was saved for other observation or action spaces, or by another agent"


class TransitionRing:
    """The last `buffer_size` transitions, as training takes them.

    Args:
        buffer_size: Number of transitions kept.
        layout: Layout of a row.
        rng: Draws the samples.
        codec: Makes bytes of the images in observations; None: there are none.
        optimize_memory_usage: Keep an image that is after one step and before the next once.

    Attributes:
        buffer_size: As given.
        layout: As given.
        rng: As given.
        rows: The transitions, packed, float32 [buffer_size, layout.size], without their images; from `len` on they are
            0.
        images: The images, or None.
        pos: The row of the next transition.
        full: Whether all rows are in use; then the one at `pos` is the oldest.
    """

    def __init__(
        self,
        buffer_size: int,
        layout: TransitionLayout,
        rng: np.random.Generator,
        codec: ImageCodec | None = None,
        optimize_memory_usage: bool = False,
    ):
        self.buffer_size, self.layout, self.rng = buffer_size, layout, rng
        self._codec = codec
        self._in_rows = layout if codec is None else layout.with_observations(len(codec.others))
        n_bytes = 0 if codec is None else codec.size * (1 if optimize_memory_usage else 2)
        size, available = buffer_size * (4 * self._in_rows.size + n_bytes), available_memory()
        if available is not None and size > available:
            warn_user(
                f"buffer_size={buffer_size} transitions take {size / 1e9:,.1f} GB of memory once they are there, and "
                f"{available / 1e9:,.1f} GB are available: training may be killed when the buffer fills; choose a "
                "smaller buffer_size"
            )
        self.images: Images | None = None
        try:
            self.rows = np.zeros((buffer_size, self._in_rows.size), np.float32)
            if codec is not None:
                self.images = (SharedImages if optimize_memory_usage else Images)(buffer_size, codec.size)
        except (MemoryError, ValueError):  # the latter where no address is so large
            raise MemoryError(f"buffer_size={buffer_size} takes {size / 1e9:,.0f} GB of memory; choose fewer") from None
        self.pos, self.full = 0, False

    def __len__(self) -> int:
        return self.buffer_size if self.full else self.pos

    def store(self, transitions: Transition, envs: np.ndarray | None = None) -> None:
        """Stores n transitions, arrays; the oldest go when the buffer is full.

        Args:
            transitions: The transitions.
            envs: The environments that they are of, int [n], each at most once; None: the first n.

        Raises:
            ValueError: An image is none of whole numbers from 0 to 255. Nothing is stored then.
        """
        if self._codec is None:
            self._write(transitions, None, envs)
            return
        images = self._codec.encode(transitions.s), self._codec.encode(transitions.s2)
        others = self._codec.others
        transitions = transitions._replace(s=transitions.s[:, others], s2=transitions.s2[:, others])
        self._write(transitions, images, np.arange(len(transitions.k)) if envs is None else envs)

    def _write(
        self, transitions: Transition, images: tuple[np.ndarray, np.ndarray] | None, envs: np.ndarray | None
    ) -> None:
        n, room = len(transitions.k), self.buffer_size - self.pos
        if n > room:
            for part in (slice(room), slice(room, None)):
                cut = None if images is None else (images[0][part], images[1][part])
                self._write(select(transitions, part), cut, None if envs is None else envs[part])
            return
        if self.images is not None and images is not None and envs is not None:
            self.images.write(np.arange(self.pos, self.pos + n), *images, envs)
        self._in_rows.pack(self.rows[self.pos : self.pos + n], transitions)
        self.pos += n
        if self.pos == self.buffer_size:
            self.pos, self.full = 0, True

    def draw(self, batches: int, batch_size: int, progress_remaining: float = 1.0) -> np.ndarray:
        """Draws batches, with replacement.

        Args:
            batches: Their number.
            batch_size: Transitions in each.
            progress_remaining: How much of the training remains, from 1 to 0; no matter where all are drawn alike.

        Returns:
            float32 [batches, batch_size, size of a drawn row]

        Raises:
            MemoryError: There is no memory for so many.
            ValueError: The buffer is empty.
        """
        if not len(self):
            raise ValueError("an update needs a replay buffer that holds transitions, this one is empty")
        try:
            return self._draw(batches, batch_size, progress_remaining)
        except (MemoryError, ValueError):  # the latter where no address is so large
            raise MemoryError(
                f"batch_size={batch_size} transitions for each of {batches} updates take "
                f"{4e-9 * batches * batch_size * self.layout.size:,.0f} GB of memory at once; choose fewer"
            ) from None

    def _draw(self, batches: int, batch_size: int, progress_remaining: float) -> np.ndarray:
        indices = self.rng.integers(0, len(self), batches * batch_size)
        return self.take(indices).reshape(batches, batch_size, -1)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Returns transitions with their images, given them, int [n]: packed, float32 [n, layout.size]; a copy."""
        rows = self.rows.take(indices, axis=0)
        if self._codec is None:
            return rows
        whole = np.empty((len(rows), self.layout.size), np.float32)
        for name, place in self.layout.places.items():
            if name in ("s", "s2"):
                self._read_observations_into(whole[:, place], name, indices, rows[:, self._in_rows.places[name]])
            else:
                whole[:, place] = rows[:, self._in_rows.places[name]]
        return whole

    def part(self, name: str, n: int | None = None) -> np.ndarray:
        """Returns a part of the first n transitions, or of all, float32 [n, …] with two axes; a view or a copy."""
        n = len(self) if n is None else min(n, len(self))
        rows = self.rows[:n, self._in_rows.places[name]]
        if self._codec is None or name not in ("s", "s2"):
            return rows
        place = self.layout.places[name]
        whole = np.empty((n, place.stop - place.start), np.float32)
        self._read_observations_into(whole, name, np.arange(n), rows)
        return whole

    def _read_observations_into(self, out: np.ndarray, name: str, indices: np.ndarray, others: np.ndarray) -> None:
        assert self._codec is not None and self.images is not None
        images = self.images.before[indices] if name == "s" else self.images.read_after(indices)
        self._codec.decode(images, others, out)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        places = {"position": np.array(self.pos), "full": np.array(self.full)}
        images = {} if self.images is None else self.images.state(len(self))
        return self._in_rows.parts(self.rows[: len(self)]) | images | places

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
        if "rows" in parts:
            parts = self.layout.parts(self._terminated_to_discount(parts["rows"]))
        parts, images = self._split_images(parts)
        rows = self._rows_of(parts, self._in_rows)
        fits = 0 <= position < len(rows) if full else position == len(rows)
        if not fits:
            raise ValueError(f"replay buffer holds {len(rows)} transitions, which position={position} does not fit")
        self._check_values(rows, self._in_rows, n_actions)
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
        if self.images is not None and images is not None:
            self.images.restore(images, self.arranged(np.arange(len(rows)), state), (self.pos - 1) % max(n, 1))

    def _split_images(self, parts: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], SavedImages | None]:
        """Returns the parts that are in rows, and the images, which files of before hold as all other components."""
        parts = dict(parts)
        if self._codec is None:
            return parts, None
        if "s_images" not in parts and "k" in parts:
            whole = self.layout.parts(self._rows_of(parts, self.layout))
            images = SavedImages(self._codec.encode(whole["s"]), self._codec.encode(whole["s2"]), None)
            return whole | {name: whole[name][:, self._codec.others] for name in ("s", "s2")}, images
        images = SavedImages.read(parts, len(np.atleast_1d(parts["k"])), self._codec.size)
        return {name: part for name, part in parts.items() if name not in IMAGE_PARTS}, images

    def arranged(self, values: np.ndarray, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns what is saved of each transition, [n, …], of those and in the order that `restore` puts them in."""
        n, full, position = len(values), bool(state["full"]), int(state["position"])
        if full and n != self.buffer_size:  # from the oldest on
            values = np.concatenate([values[position:], values[:position]])
        return values[max(n - self.buffer_size, 0) :]

    def _check_values(self, rows: np.ndarray, layout: TransitionLayout, n_actions: int) -> None:
        """Raises ValueError if rows hold what no agent stores."""
        parts = layout.parts(rows)
        if not np.isfinite(rows).all():
            raise ValueError("replay buffer holds numbers that are not finite")
        if not np.isin(parts["k"], np.arange(n_actions)).all():
            raise ValueError(f"replay buffer holds discrete actions that are not in 0..{n_actions - 1}")
        if (np.abs(parts["x"]) > 1.0).any():
            raise ValueError("replay buffer holds action-parameters that are not in [-1, 1], to which they are scaled")
        if not ((parts["discount"] >= 0.0) & (parts["discount"] <= 1.0)).all():
            raise ValueError("replay buffer holds a discount that is not in [0, 1]")
        masks = parts.get(NEXT_MASK, np.ones((1, 1)))
        if not np.isin(masks, (0, 1)).all() or not masks.any(1).all():
            raise ValueError(f"replay buffer holds a {NEXT_MASK} that is not of 0 and 1, or allows nothing")

    def _rows_of(self, given: Mapping[str, np.ndarray], layout: TransitionLayout) -> np.ndarray:
        """Returns rows of their parts, and raises ValueError if these are of another layout."""
        if "k" in given and given.keys() != layout.places.keys():
            raise ValueError(
                f"replay buffer holds the parts {sorted(given)}, this agent's has {sorted(layout.places)}; "
                f"{OTHER_SPACES}"
            )
        parts = {name: np.asarray(given[name]) for name in layout.places}
        n = len(np.atleast_1d(parts["k"]))
        own = {name: (n, place.stop - place.start) for name, place in layout.places.items()}
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
