"""Parameterised action spaces: any Gymnasium layout as canonical arrays, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from pamdp_agents.spaces import nested
from pamdp_agents.spaces.action_layouts import check_leaf, owned_coordinates, read_layout, size_of
from pamdp_agents.spaces.leaves import Leaf, inverse, read_choices
from pamdp_agents.spaces.old_gym import refuse_old_space
from pamdp_agents.spaces.shared_parameters import SharedParameters


class ParameterizedActionSpace:
    """A parameterised action space: K discrete actions k, each with m_k continuous action-parameters x_k.

    Agents work on canonical arrays: `k`, int32 in {0..K−1}, and `x`, float32 [P], the parameters of all
    actions, each scaled from its bounds to [−1, 1]. `x[mask[k]]` is x_k. Where actions share no parameters, these
    are x_0 … x_{K−1} in a row, and P = Σ m_k; where they do, each parameter is there once, in the space's order.
    This class translates them to and from the actions of an environment, whose layout it reads off the space:

    * `Tuple(Discrete(K), Tuple(Box, …))` with K boxes, the k-th holding x_k;
    * `Tuple(Discrete(K), Box, …)`, the same, flat; with a warning, for all actions might use all boxes;
    * `Tuple(Discrete(K), Box)`, one Box for all actions, with `parameter_sizes` or `parameter_mask`;
    * the same as `Dict`: one `Discrete` under any key, the rest boxes, or one Tuple or Dict of boxes. Keys of
      boxes must tell whose they are, numbered from 0 or 1 in the Dict's own order ("action_0", "params 1", "x2");
      others need `parameter_sizes` or `parameter_mask`. Gymnasium sorts the keys of a plain dict ("x10" before
      "x2"); an `OrderedDict` or a list of pairs keeps its order;
    * `SharedParameters`, which says it;
    * `OneOf(Box, …)`: an action is `(k, x_k)` and carries no other parameters;
    * plain `Discrete` (P = 0) and plain `Box` (K = 1; the action is the array alone).

    A box may have any shape, also of size 0, any dtype (integers are rounded to the nearest) and equal
    bounds. In the place of a box, `Discrete(1)` means no parameters, a Tuple or Dict of boxes all of them.

    Args:
        space: The environment's action space.
        parameter_sizes: K sizes m_k that cut the coordinates of the space's boxes (as a rule one Box),
            flattened and in a row, into consecutive pieces, one for each discrete action.
        parameter_mask: bool [K, D], which of the boxes' D coordinates each discrete action uses. Actions may
            share coordinates; one that no action uses is no parameter. The environment gets the middle of the range
            in every coordinate that the action taken does not use.

    Attributes:
        space: The environment's action space.
        n: K, the number of discrete actions.
        options: (K,): how many options the one discrete choice has.
        start: The environment's number of discrete action 0, the start of its Discrete.
        parameter_sizes: m_k for each k.
        parameter_size: P; the sum of `parameter_sizes` if no parameter is shared.
        shared: Whether a parameter belongs to several actions.
        low: float64 [P], lower bounds in the environment's units.
        high: float64 [P], upper bounds in the environment's units.
        mask: bool [K, P], True where parameter p belongs to action k.

    Raises:
        TypeError: The space has none of these layouts.
        ValueError: A Box is unbounded, `parameter_sizes` or `parameter_mask` do not fit the space, or
            it needs one of them.
    """

    def __init__(
        self,
        space: spaces.Space[Any],
        parameter_sizes: Sequence[int] | None = None,
        parameter_mask: ArrayLike | None = None,
    ) -> None:
        refuse_old_space("action_space", space)
        self.space = space
        discrete, discrete_path, components = read_layout(space)
        self.n = len(components) if discrete is None else int(discrete.n)
        self.options: tuple[int, ...] = (self.n,)
        self.start = 0 if discrete is None else int(discrete.start)
        integer = np.int64 if discrete is None else discrete.dtype.type
        self._choices = {k: integer(self.start + k) for k in range(self.n)}

        # The boxes' coordinates, flattened and one after the other, make the environment vector, float64 [D].
        self._choice_position: int | None = None  # of the discrete choice among the space's leaves
        self._leaves: list[Leaf] = []  # all the others
        size = 0
        tree = spaces.Tuple(space.spaces) if isinstance(space, spaces.OneOf) else space
        for position, (path, leaf) in enumerate(nested.leaves(tree)):
            if path == discrete_path:
                self._choice_position = position
            else:
                box = check_leaf(leaf, path, space)
                self._leaves.append(Leaf(box, slice(size, size + size_of(box))))
                size += size_of(box)
        boxes = [leaf.space for leaf in self._leaves if isinstance(leaf.space, spaces.Box)]
        none = np.zeros(0)
        self._vector_low = np.concatenate([none, *(box.low.ravel() for box in boxes)], dtype=np.float64)
        self._vector_high = np.concatenate([none, *(box.high.ravel() for box in boxes)], dtype=np.float64)
        self._vector_middle = (self._vector_low + self._vector_high) / 2
        # Actions computed in float32 may miss a bound by a rounding; that is no reason to refuse them.
        self._tolerance = 1e-6 * np.maximum(np.abs(self._vector_low), np.abs(self._vector_high))

        # A OneOf has K branches, each with its own nesting and leaves; in the other layouts all is one tree.
        self._nesting = nested.nesting(space)
        self._branches: list[tuple[Any, list[Leaf]]] = []
        if isinstance(space, spaces.OneOf):
            leaves = iter(self._leaves)
            self._branches = [
                (nested.nesting(part), [next(leaves) for _ in nested.leaves(part)]) for part in components
            ]
        # Whether an action carries the parameters of all discrete actions, or only of the one taken.
        self._carries_all = parameter_mask is None and not self._branches

        coordinates = owned_coordinates(space, self.n, components, parameter_sizes, parameter_mask)
        self.parameter_sizes = tuple(len(owned) for owned in coordinates)
        joined = np.concatenate(coordinates)
        in_order, counts = np.unique(joined, return_counts=True)
        self.shared = bool((counts > 1).any())
        self._coordinate = in_order if self.shared else joined  # int64 [P], places in the environment vector
        self.parameter_size = len(self._coordinate)
        places = np.zeros(size, dtype=np.int64)
        places[self._coordinate] = np.arange(self.parameter_size)
        owners = np.repeat(np.arange(self.n), self.parameter_sizes)
        self.mask = np.zeros((self.n, self.parameter_size), dtype=np.bool_)
        self.mask[owners, places[joined]] = True
        self.low = self._vector_low[self._coordinate]
        self.high = self._vector_high[self._coordinate]
        self._middle = self._vector_middle[self._coordinate]
        self._half = (self.high - self.low) / 2
        # Infinity times 0 would be NaN; where low == high, any number ends up there when clipped.
        self._reach = np.where(self._half > 0, self._half, 1.0)
        self._inverse_half = inverse(self._half)

        if not self._carries_all:
            # int64 [K, D]: the environment vector when k is taken, as indices into (P parameters, D middles).
            self._source = np.tile(np.arange(size) + self.parameter_size, (self.n, 1))
            self._source[owners, joined] = places[joined]

    @property
    def canonical_space(self) -> spaces.Tuple:
        """The same in the environment's units, in 1-D float32 boxes: `Tuple(Discrete(K), Tuple(Box × K))`.

        If actions share parameters, `SharedParameters(Discrete(K), Box)`.
        """
        low, high = self.low.astype(np.float32), self.high.astype(np.float32)
        if self.shared:
            return SharedParameters(spaces.Discrete(self.n), spaces.Box(low, high, dtype=np.float32), self.mask)
        stops = np.cumsum(self.parameter_sizes).tolist()
        pieces = [slice(stop - size, stop) for stop, size in zip(stops, self.parameter_sizes, strict=True)]
        boxes = [spaces.Box(low[piece], high[piece], dtype=np.float32) for piece in pieces]
        return spaces.Tuple((spaces.Discrete(self.n), spaces.Tuple(boxes)))

    def scale(self, values: ArrayLike) -> NDArray[np.float32]:
        """Scales parameters [.., P] from the environment's units to [−1, 1]; to 0 where low == high."""
        return ((np.asarray(values, dtype=np.float64) - self._middle) * self._inverse_half).astype(np.float32)

    def unscale(self, x: ArrayLike) -> NDArray[np.float64]:
        """Scales parameters [.., P] from [−1, 1] to the environment's units. Does not clip."""
        return np.asarray(x, dtype=np.float64) * self._half + self._middle

    def to_env(self, k: int, x: ArrayLike) -> Any:
        """Returns the environment action for one discrete action and all parameters.

        Args:
            k: The discrete action, in {0..K−1} whatever the start of the space's Discrete.
            x: float [P], all parameters, scaled to [−1, 1]; clipped if outside.

        Returns:
            An action contained in `space`.

        Raises:
            ValueError: `k` or the shape of `x` is wrong, or `x` holds NaN.
        """
        return self.to_env_batch([k], np.asarray(x)[None])[0]

    def to_env_batch(self, k: ArrayLike, x: ArrayLike) -> list[Any]:
        """Returns the list of n environment actions for `k` [n] and `x` [n, P]; see `to_env`."""
        k, x = self._check(k, x)
        return self._compose(k, x * self._reach + self._middle)

    def to_env_stacked(self, k: ArrayLike, x: ArrayLike) -> Any:
        """Returns the actions for `k` [n] and `x` [n, P] as Gymnasium's vector environments batch them; see `to_env`.

        Returns:
            An element of `gymnasium.vector.utils.batch_space(space, n)`: as `space` is nested, with arrays of n
            leaves in place of each leaf (for a `OneOf`, a tuple of n actions).
        """
        k, x = self._check(k, x)
        values = x * self._reach + self._middle
        if self._branches:
            return tuple(self._compose(k, values))
        choices, vectors = self._vectors(k, values)
        return nested.assemble(self._nesting, self._columns(choices, vectors, stacked=True))

    def unstack(self, actions: Any) -> list[Any]:
        """Returns the list of n environment actions that `to_env_stacked` stacks; what they hold is not looked at.

        Raises:
            ValueError: They are not nested as the space is, or hold arrays of different lengths.
        """
        columns = [list(column) for [column] in nested.unpack(self._nesting, [actions])]
        if len({len(column) for column in columns}) > 1:
            raise ValueError(f"its arrays have different lengths, {[len(column) for column in columns]}")
        return nested.pack(self._nesting, columns)

    def from_env(self, action: Any) -> tuple[int, NDArray[np.float32]]:
        """Returns the discrete action and all parameters of one environment action.

        Args:
            action: An action contained in `space`; a parameter may miss its bounds by a float32 rounding.

        Returns:
            `(k, x)`: an int in {0..K−1}, and float32 [P] in [−1, 1]. Parameters that the action does not
            carry (`OneOf`, `parameter_mask`) are 0, the middle of their range.

        Raises:
            ValueError: The action is not in the space.
        """
        k, values = self.decompose(action)
        return k, self.scale(values)

    def from_env_batch(self, actions: Sequence[Any]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """`k`, int32 [n], and `x`, float32 [n, P], of n environment actions; see `from_env`."""
        k, values = self.decompose_batch(actions)
        return k, self.scale(values)

    def compose(self, k: int, values: ArrayLike) -> Any:
        """As `to_env`, with the parameters in the environment's units."""
        return self.compose_batch([k], np.asarray(values)[None])[0]

    def compose_batch(self, k: ArrayLike, values: ArrayLike) -> list[Any]:
        """As `to_env_batch`, with the parameters in the environment's units."""
        return self._compose(*self._check(k, values))

    def _check(self, k: ArrayLike, values: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """As arrays, of which the shapes fit and none is NaN."""
        k = np.asarray(k)
        values = np.asarray(values, dtype=np.float64)
        if k.ndim != 1 or values.shape != (k.size, self.parameter_size):
            raise ValueError(
                f"Discrete actions of shape (n,) need parameters of shape (n, {self.parameter_size}); "
                f"got shapes {k.shape} and {values.shape}."
            )
        if np.isnan(values).any():
            row = int(np.isnan(values).any(axis=1).argmax())
            raise ValueError(
                f"The parameters for discrete action {k[row]} hold NaN: {values[row]}. An environment cannot "
                "take that; look for what made it, usually a network that has diverged."
            )
        return k, values

    def _vectors(self, k: NDArray[Any], values: NDArray[np.float64]) -> tuple[list[Any], NDArray[np.float64]]:
        """Returns the environment's discrete actions and vectors [n, D]."""
        try:
            choices = [self._choices[choice] for choice in k.tolist()]
        except KeyError as error:
            raise ValueError(
                f"The discrete action must be one of 0..{self.n - 1} (the start of the space's Discrete is "
                f"added to it); got {error}."
            ) from None

        if not self._carries_all:
            middle = np.broadcast_to(self._vector_middle, (k.size, self._vector_middle.size))
            sources = np.concatenate([values, middle], axis=1)
            values = sources[np.arange(k.size)[:, None], self._source[k.astype(np.intp)]]
        return choices, np.minimum(np.maximum(values, self._vector_low), self._vector_high)

    def _columns(self, choices: list[Any], vectors: NDArray[np.float64], stacked: bool) -> list[Any]:
        """Returns one column for each leaf of the space, a list of n values or an array of them."""
        columns: list[Any] = [leaf.stacked(vectors) if stacked else leaf.rows(vectors) for leaf in self._leaves]
        if self._choice_position is not None:
            columns.insert(self._choice_position, np.array(choices) if stacked else choices)
        return columns

    def _compose(self, k: NDArray[Any], values: NDArray[np.float64]) -> list[Any]:
        choices, vectors = self._vectors(k, values)
        if not self._branches:
            return nested.pack(self._nesting, self._columns(choices, vectors, stacked=False))
        actions: list[Any] = [None] * k.size
        for choice in set(k.tolist()):
            nesting, leaves = self._branches[choice]
            rows = np.flatnonzero(k == choice).tolist()
            packed = nested.pack(nesting, [leaf.rows(vectors[rows]) for leaf in leaves])
            for row, value in zip(rows, packed, strict=True):
                actions[row] = (choices[row], value)
        return actions

    def decompose(self, action: Any) -> tuple[int, NDArray[np.float64]]:
        """As `from_env`, with the parameters in the environment's units."""
        k, values = self.decompose_batch([action])
        return int(k[0]), values[0]

    def decompose_batch(self, actions: Sequence[Any]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """As `from_env_batch`, with the parameters in the environment's units."""
        if len(actions) == 0:
            return np.zeros(0, dtype=np.int32), np.zeros((0, self.parameter_size))
        vectors = np.tile(self._vector_middle, (len(actions), 1))
        try:
            k = self._read_branches(actions, vectors) if self._branches else self._read(actions, vectors)
        except (TypeError, ValueError, OverflowError) as error:
            if len(actions) > 1:  # to name the one at fault
                for action in actions:
                    self.decompose(action)
            raise ValueError(f"{actions[0]!r} is not an action of {self.space}: {error}.") from error
        above_low = vectors >= self._vector_low - self._tolerance
        below_high = vectors <= self._vector_high + self._tolerance
        valid = (above_low & below_high).all(axis=1)  # NaN is not
        if not valid.all():
            action = actions[int(valid.argmin())]
            raise ValueError(f"{action!r} is not an action of {self.space}: a parameter is NaN or out of bounds.")
        values = np.minimum(np.maximum(vectors, self._vector_low), self._vector_high)[:, self._coordinate]
        if not self._carries_all:
            values = np.where(self.mask[k], values, self._middle)
        return k, values

    def _read(self, actions: Sequence[Any], vectors: NDArray[np.float64]) -> NDArray[np.int32]:
        """Writes the actions' parameters into `vectors` [n, D]; returns the discrete actions, int32 [n]."""
        columns = nested.unpack(self._nesting, actions)
        k = np.zeros(len(actions), dtype=np.int32)
        if self._choice_position is not None:
            k = read_choices(columns.pop(self._choice_position), self.start, self.n)
        for leaf, column in zip(self._leaves, columns, strict=True):
            leaf.read(column, vectors)
        return k

    def _read_branches(self, actions: Sequence[Any], vectors: NDArray[np.float64]) -> NDArray[np.int32]:
        """Returns the same for a `OneOf`."""
        choices, values = zip(*actions, strict=True)
        k = read_choices(choices, 0, self.n)
        for choice in set(k.tolist()):
            nesting, leaves = self._branches[choice]
            rows = np.flatnonzero(k == choice).tolist()
            of_branch = vectors[rows]
            for leaf, column in zip(leaves, nested.unpack(nesting, [values[row] for row in rows]), strict=True):
                leaf.read(column, of_branch)
            vectors[rows] = of_branch
        return k

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ParameterizedActionSpace)
            and self.space == other.space
            and self.parameter_sizes == other.parameter_sizes
            and self._carries_all == other._carries_all
            and np.array_equal(self._coordinate, other._coordinate)
            and np.array_equal(self.mask, other.mask)
        )

    def __repr__(self) -> str:
        return f"ParameterizedActionSpace({self.space}, parameter_sizes={self.parameter_sizes})"
