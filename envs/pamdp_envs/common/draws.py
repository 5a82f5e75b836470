"""Random numbers for environments that are stepped together but draw each for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = 1024  # numbers of an environment that are drawn ahead; no step may look further


class UniformDraws(Protocol):
    """The methods of `numpy.random.Generator` with which one environment draws uniform numbers."""

    def random(self) -> float:
        """Returns the next number from [0, 1)."""

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        """Returns the next number from [low, high), or the next `size` numbers."""


class Draws:
    """Random numbers of n environments, drawn ahead in blocks from each environment's own generator.

    A block holds, in the same order, what the scalar environment draws one by one.

    Args:
        num_envs: number of environments.
        method: the method of `numpy.random.Generator` that draws.
    """

    def __init__(self, num_envs: int, method: Literal["standard_normal", "random"]) -> None:
        self.generators: list[np.random.Generator | None] = [None] * num_envs
        self.seeds = [-1] * num_envs
        self._method = method
        self.numbers = np.empty(num_envs * BLOCK)  # one block after the other
        self._used = np.full(num_envs, BLOCK)  # how many numbers of each block

    def seed(self, envs: Array, seeds: Sequence[int | None]) -> None:
        """Gives a new generator to each of `envs` that gets a seed or has none yet, and forgets its block."""
        fresh = [
            (env, *seeding.np_random(seeds[env]))
            for env in envs.tolist()
            if seeds[env] is not None or self.generators[env] is None
        ]
        for env, generator, seed in fresh:
            self.generators[env], self.seeds[env] = generator, seed
            self._used[env] = BLOCK

    def ahead(self, envs: Array, count: int) -> Array:
        """Has the next `count` numbers of each of `envs` drawn; returns where `numbers` has them, (len(envs),)."""
        for env in envs[self._used[envs] > BLOCK - count].tolist():
            start = env * BLOCK
            left = BLOCK - self._used[env]
            block = self.numbers[start : start + BLOCK]
            block[:left] = block[self._used[env] :].copy()
            getattr(self.generators[env], self._method)(out=block[left:])
            self._used[env] = 0
        return envs * BLOCK + self._used[envs]

    def use(self, envs: Array, counts: Array | int) -> None:
        """Counts the next `counts` numbers of `envs` as used."""
        self._used[envs] += counts

    def one_by_one(self, env: int) -> OneByOne:
        """Returns the next random numbers of one environment; each counts as used when it is drawn."""
        return OneByOne(self._each(env))

    def _each(self, env: int) -> Iterator[float]:
        envs = np.array([env])
        while True:
            start = self.ahead(envs, 64)[0]
            for number in self.numbers[start : start + 64].tolist():
                self._used[env] += 1
                yield number


class OneByOne:
    """Uniform numbers made of numbers from [0, 1)."""

    def __init__(self, numbers: Iterator[float]) -> None:
        self._numbers = numbers

    def random(self) -> float:
        """Returns the next number from [0, 1)."""
        return next(self._numbers)

    def uniform(self, low: float, high: float, size: int | None = None) -> Any:
        """Returns the next number from [low, high), or a list of the next `size` numbers."""
        if size is None:
            return low + (high - low) * next(self._numbers)
        return [low + (high - low) * next(self._numbers) for _ in range(size)]
