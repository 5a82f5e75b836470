"""Prioritised experience replay: transitions are drawn the more often, the larger their TD errors were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from pamdp_agents.checks import check_range
from pamdp_agents.experience.replay import PRIORITY, ReplayBuffer
from pamdp_agents.experience.ring import read_scalar
from pamdp_agents.experience.sum_tree import SumTree
from pamdp_agents.experience.transition import Transition


class PrioritizedReplayBuffer(ReplayBuffer):
    """A replay buffer of which transitions are drawn in proportion to their priorities: `replay_buffer_class`.

    * A transition's priority p is |δ| + 1e-6 of its last update; a new one's is the largest there has been.
    * It is drawn with the probability P(i) = p_i^α / Σ_j p_j^α. Each batch is drawn from as many equal parts of the sum
      as it has transitions, one from each part.
    * The critic's loss of each is multiplied by w_i = (n·P(i))^(−β), divided by the largest w of its batch.
    * β rises linearly over the training, from `beta` to 1.

    All batches of one compiled call are drawn by the priorities from before it.

    Args:
        *args: As `ReplayBuffer`'s.
        alpha: α, in [0, 1]: 0 draws uniformly.
        beta: β at the start, in [0, 1]: 0 corrects nothing, 1 all of the bias.

    Attributes:
        alpha: As given.
        beta: As given.
        max_priority: The largest priority there has been; 1 before any.
        drawn: The transitions of the last `draw`, int [batches · batch_size].

    References:
        Schaul et al. 2016, "Prioritized Experience Replay" (arXiv 1511.05952): the proportional variant.
    """

    drawn_extras: ClassVar[dict[str, int]] = {"weight": 1}

    def __init__(self, *args: Any, alpha: float = 0.6, beta: float = 0.4):
        super().__init__(*args)
        self.alpha, self.beta = alpha, beta
        self.drawn = np.zeros(0, np.int64)
        self.max_priority = 1.0
        self._tree = SumTree(self.buffer_size)

    @classmethod
    def read_kwargs(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Returns `replay_buffer_kwargs`, checked: `alpha` and `beta`, and what asks for nothing."""
        own = {name: check_range(f"replay_buffer_kwargs: {name}", given[name], at_least=0, to=1)
               for name in ("alpha", "beta") if name in given}  # fmt: skip
        return super().read_kwargs({name: value for name, value in given.items() if name not in own}) | own

    @property
    def priorities(self) -> np.ndarray:
        """The priorities to the power of α, float64 [n], in the order of the ring; a copy."""
        return self._tree[: len(self)].copy()

    def store(self, transitions: Transition, envs: np.ndarray | None = None) -> None:
        """Stores n transitions with the largest priority; see `TransitionRing.store`."""
        places = (self.pos + np.arange(min(len(transitions.k), self.buffer_size))) % self.buffer_size
        super().store(transitions, envs)
        self._tree[places] = self.max_priority**self.alpha

    def _draw(self, batches: int, batch_size: int, progress_remaining: float) -> np.ndarray:
        """Draws batches by the priorities: the transitions, and the weight of each."""
        self.drawn = self._find(self.rng, batches, batch_size)
        chances = self._tree[self.drawn].reshape(batches, batch_size)
        beta = self.beta + (1.0 - self.beta) * (1.0 - progress_remaining)
        rows = np.empty((batches, batch_size, self.layout.size + 1), np.float32)
        rows[..., :-1] = self.take(self.drawn).reshape(batches, batch_size, -1)
        rows[..., -1] = (chances.min(1, keepdims=True) / chances) ** beta
        return rows

    def update_priorities(self, indices: np.ndarray, priorities: np.ndarray) -> None:
        """Gives transitions other priorities; the last one of those that are there several times.

        Args:
            indices: Transitions, int [m], in the order of the ring.
            priorities: Their priorities, float [m], above 0.

        Raises:
            ValueError: A priority is not a finite number above 0.
        """
        priorities = np.asarray(priorities, np.float64)
        if not ((priorities > 0) & (priorities < np.inf)).all():
            raise ValueError(f"priorities must be finite numbers above 0, got {priorities}")
        self._tree[indices] = priorities**self.alpha
        self.max_priority = max(self.max_priority, float(priorities.max(initial=0.0)))

    def note_priorities(self, priorities: np.ndarray) -> None:
        """Takes the priorities that updates gave to what was last drawn, float32 [batches, batch_size]."""
        self.update_priorities(self.drawn, priorities.reshape(-1))

    def reset(self) -> None:
        """Forgets all transitions, and their priorities."""
        super().reset()
        self._tree, self.max_priority = SumTree(self.buffer_size), 1.0

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` needs, as arrays."""
        own = {"values": self.priorities, "alpha": np.array(float(self.alpha)), "max": np.array(self.max_priority)}
        return super().state() | {f"{PRIORITY}{name}": part for name, part in own.items()}

    def _read_own(self, state: Mapping[str, np.ndarray], n: int) -> tuple[np.ndarray, float]:
        """Returns the priorities to the power of this α, and the largest; 1 all of them, if none were saved."""
        if not any(name.startswith(PRIORITY) for name in state):
            return np.ones(n), 1.0
        values = np.asarray(state[f"{PRIORITY}values"])
        alpha, largest = (float(read_scalar(state, f"{PRIORITY}{name}", "f")) for name in ("alpha", "max"))
        if values.shape != (n,) or values.dtype != np.float64 or not ((values > 0) & (values < np.inf)).all():
            raise ValueError(f"replay buffer must hold {n} priorities, finite float64 above 0, got {values!r}")
        if not (0 <= alpha <= 1 and 0 < largest < np.inf):
            raise ValueError(f"replay buffer holds priorities of alpha={alpha} and the largest priority {largest}")
        if alpha == self.alpha:
            return values, largest
        # Of α = 0 nothing is left of the priorities.
        return (values ** (self.alpha / alpha) if alpha else np.full(n, largest**self.alpha)), largest

    def _take_own(self, own: tuple[np.ndarray, float], state: Mapping[str, np.ndarray]) -> None:
        values, self.max_priority = self.arranged(own[0], state), own[1]
        self._tree = SumTree(self.buffer_size)
        self._tree[np.arange(len(values))] = values

    def _choose(self, n: int) -> np.ndarray:
        return self._find(self._own_rng, 1, n)

    def _find(self, rng: np.random.Generator, batches: int, batch_size: int) -> np.ndarray:
        """Draws transitions by their priorities, int [batches · batch_size]."""
        parts = np.arange(batch_size) + rng.random((batches, batch_size))
        found = self._tree.find(parts.reshape(-1) * (self._tree.total / batch_size))
        return np.minimum(found, len(self) - 1)  # rounding may have gone past the last one
