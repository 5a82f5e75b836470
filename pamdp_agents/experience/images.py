"""Images of observations as the bytes that they are, which take a quarter of the memory of float32, or an eighth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pamdp_agents.spaces import ObservationTransform


class ImageCodec:
    """Makes bytes of the images in scaled observations, and these again, to the bit.

    Args:
        observations: Flattens and scales observations.

    Attributes:
        size: Components of an observation that are bytes.
        others: Places of the other components, int [D − size].
    """

    def __init__(self, observations: ObservationTransform):
        self._observations = observations
        self._places = observations.image_places()
        is_image = np.zeros(observations.size, bool)
        for place in self._places:
            is_image[place] = True
        self.size, self.others = int(is_image.sum()), (~is_image).nonzero()[0]
        values = np.arange(256)
        factor, summand = observations.factor, observations.summand
        # What the 256 values of a byte are scaled to.
        self._scaled = [(values * factor[p.start] + summand[p.start]).astype(np.float32) for p in self._places]

    def encode(self, observations: np.ndarray) -> np.ndarray:
        """Returns the images of scaled observations [n, D] as bytes, uint8 [n, size].

        Raises:
            ValueError: One of them is no whole number from 0 to 255.
        """
        parts = []
        for place, scaled in zip(self._places, self._scaled, strict=True):
            given = observations[:, place]
            values = np.rint((given - scaled[0]) * (255 / (scaled[255] - scaled[0])))
            part = np.clip(values, 0, 255).astype(np.uint8)
            if not np.array_equal(scaled[part], given):
                raise ValueError(
                    f"the observation space {self._observations.space} is of uint8, but an image was not of whole "
                    "numbers from 0 to 255: let the environment return uint8, or give its space the type of what it "
                    "returns"
                )
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def decode(self, images: np.ndarray, others: np.ndarray, out: np.ndarray) -> None:
        """Writes scaled observations.

        Args:
            images: Their images, uint8 [n, size].
            others: Their other components, float32 [n, D − size].
            out: Where to, float32 [n, D].
        """
        start = 0
        for place, scaled in zip(self._places, self._scaled, strict=True):
            end = start + place.stop - place.start
            out[:, place] = scaled.take(images[:, start:end])
            start = end
        if len(self.others):
            out[:, self.others] = others


class SavedImages(NamedTuple):
    """What a file holds of the images of n transitions.

    Attributes:
        before: The images before, uint8 [n, size].
        after: Those after, or those of them that are kept apart, uint8 [m, size].
        after_at: Where each of those after is, int64 [n]: at i in `before`, or −1 − i: at i in `after`; None: each is
            in `after`, and m is n.
    """

    before: np.ndarray
    after: np.ndarray
    after_at: np.ndarray | None

    @classmethod
    def read(cls, state: Mapping[str, np.ndarray], n: int, size: int) -> SavedImages:
        """Returns what is saved, checked.

        Raises:
            KeyError: A part is missing.
            ValueError: A part is damaged.
        """
        before, after = (np.asarray(state[name]) for name in ("s_images", "s2_images"))
        after_at = np.asarray(state["s2_images_at"]) if "s2_images_at" in state else None
        m = n if after_at is None else len(np.atleast_1d(after))
        for name, part, rows in (("s_images", before, n), ("s2_images", after, m)):
            if part.dtype != np.uint8 or part.shape != (rows, size):
                raise ValueError(
                    f"replay buffer holds {name} of type {part.dtype} and shape {part.shape}, which must be uint8 and "
                    f"{(rows, size)}"
                )
        if after_at is not None:
            fits = after_at.dtype == np.int64 and after_at.shape == (n,)
            if not fits or not ((after_at >= -m) & (after_at < n)).all():
                raise ValueError(
                    f"replay buffer holds {n} transitions and {m} s2_images, which s2_images_at does not fit"
                )
        return cls(before, after, after_at)

    def read_after(self, which: np.ndarray) -> np.ndarray:
        """Returns the images after transitions, given them, int [k]: uint8 [k, size]."""
        return self.after[which] if self.after_at is None else _at(self.after_at[which], self.before, self.after)


class Images:
    """The images before and after each of n transitions.

    Args:
        n: Number of transitions.
        size: Bytes of an observation's images.

    Attributes:
        before: Those before, uint8 [n, size].
        after: Those after, likewise.
    """

    def __init__(self, n: int, size: int):
        self.before, self.after = np.zeros((n, size), np.uint8), np.zeros((n, size), np.uint8)

    def write(self, places: np.ndarray, before: np.ndarray, after: np.ndarray, envs: np.ndarray) -> None:
        """Writes those of m transitions.

        Args:
            places: The transitions, int [m].
            before: Their images before, uint8 [m, size].
            after: Their images after, likewise.
            envs: The environments that they are of, int [m], each at most once.
        """
        self.before[places], self.after[places] = before, after

    def read_after(self, places: np.ndarray) -> np.ndarray:
        """Returns the images after transitions, given them, int [m]: uint8 [m, size]."""
        return self.after[places]

    def state(self, n: int) -> dict[str, np.ndarray]:
        """Returns those of the first n transitions, as arrays."""
        return {"s_images": self.before[:n], "s2_images": self.after[:n]}

    def restore(self, saved: SavedImages, order: np.ndarray, newest: int) -> None:
        """Takes saved ones in place of its first m.

        Args:
            saved: What is saved.
            order: Which of them, int [m].
            newest: The place that the newest of them gets.
        """
        m = len(order)
        self.before[:m], self.after[:m] = saved.before[order], saved.read_after(order)


class SharedImages(Images):
    """The same, where an image after a step that is the one before the environment's next step is kept once.

    Others, such as the last of an episode, are kept apart, in as much memory as they need.

    Attributes:
        after: Those that are kept apart, and room for more, uint8 [room, size].
        after_at: Where the image after each transition is, int64 [n]: at i in `before`, or −1 − i: at i in `after`.
    """

    def __init__(self, n: int, size: int):
        self.before = np.zeros((n, size), np.uint8)
        self._clear()

    def _clear(self) -> None:
        n, size = self.before.shape
        self.after, self.after_at = np.zeros((0, size), np.uint8), np.zeros(n, np.int64)
        self._free: list[int] = []  # places in `after`
        self._last: dict[int, int] = {}  # the newest transition of each environment

    def write(self, places: np.ndarray, before: np.ndarray, after: np.ndarray, envs: np.ndarray) -> None:
        """Writes those of m transitions; see `Images.write`."""
        # The oldest transitions go first, so none that stays refers to an image before them.
        self._free.extend(-1 - i for i in self.after_at[places].tolist() if i < 0)
        overwritten = set(places.tolist())
        self.before[places] = before
        for place, image, env in zip(places.tolist(), after, envs.tolist(), strict=True):
            last = self._last.get(env)
            if last is not None and last not in overwritten and self.after_at[last] < 0:
                at = -1 - int(self.after_at[last])
                if np.array_equal(self.after[at], self.before[place]):
                    self.after_at[last] = place
                    self._free.append(at)
            self._keep_apart(place, image)
            self._last[env] = place

    def read_after(self, places: np.ndarray) -> np.ndarray:
        """Returns the images after transitions; see `Images.read_after`."""
        return _at(self.after_at[places], self.before, self.after)

    def state(self, n: int) -> dict[str, np.ndarray]:
        """Returns those of the first n transitions, as arrays; what is kept once, once."""
        after_at = self.after_at[:n].copy()
        apart = after_at < 0
        images = self.after[-1 - after_at[apart]]
        after_at[apart] = -1 - np.arange(len(images))
        return {"s_images": self.before[:n], "s2_images": images, "s2_images_at": after_at}

    def restore(self, saved: SavedImages, order: np.ndarray, newest: int) -> None:
        """Takes saved ones, of which it keeps equal ones once; see `Images.restore`."""
        m = len(order)
        self._clear()
        self.before[:m] = saved.before[order]
        later: dict[int, int] = {}  # transitions by what their images before hash to
        for place in ((newest - np.arange(m)) % max(m, 1)).tolist():
            [image] = saved.read_after(order[place : place + 1])
            found = later.get(hash(image.tobytes()))
            if found is not None and np.array_equal(self.before[found], image):
                self.after_at[place] = found
            else:
                self._keep_apart(place, image)
            later[hash(self.before[place].tobytes())] = place

    def _keep_apart(self, place: int, image: np.ndarray) -> None:
        if not self._free:
            room = len(self.after)
            more = min(max(room, 16), len(self.before) - room)
            self.after = np.concatenate([self.after, np.zeros((more, self.after.shape[1]), np.uint8)])
            self._free.extend(range(room + more - 1, room - 1, -1))
        at = self._free.pop()
        self.after[at] = image
        self.after_at[place] = -1 - at


def _at(after_at: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Returns the images after transitions, given where each is; see `SavedImages`."""
    images, apart = before[np.maximum(after_at, 0)], after_at < 0
    images[apart] = after[-1 - after_at[apart]]
    return images
