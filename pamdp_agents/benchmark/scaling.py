"""Scaling: an update's cost by the number of discrete actions, the batch size and the networks' size."""

from __future__ import annotations

import functools
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym

from pamdp_agents.benchmark import many_actions, products
from pamdp_agents.benchmark.cases import ALGORITHMS, make_agent
from pamdp_agents.benchmark.learners import LearnerBenchmark
from pamdp_agents.benchmark.measuring import Derived, Entry, one, ratio
from pamdp_agents.benchmark.processes import n_threads, run_script

FUSED = (1, 16)  # updates in one call

MOST_CALLS = 200  # in one measurement

BUFFER_SIZE = 10_000


class Point(NamedTuple):
    """One agent that is measured.

    Attributes:
        algorithm: Its class.
        n_actions: K, discrete actions of two parameters each.
        net_arch: Hidden units of both networks.
        batch_size: Transitions in an update.
    """

    algorithm: str
    n_actions: int = 3
    net_arch: tuple[int, ...] = (256, 256)
    batch_size: int = 128

    def __str__(self) -> str:
        return f"{self.algorithm}, K={self.n_actions}, hidden {self.net_arch}, batch {self.batch_size}"

    def base(self) -> Point:
        """Returns the point it is compared with: K = 3, batch 128, hidden 256, as many layers."""
        return Point(self.algorithm, net_arch=(128,) if len(self.net_arch) == 1 else (256, 256))

    def settings(self) -> dict[str, Any]:
        """Arguments of the agent's constructor."""
        arch = list(self.net_arch)
        return {"policy_kwargs": {"net_arch": arch}, "batch_size": self.batch_size, "buffer_size": BUFFER_SIZE}


def points() -> list[Point]:
    """Returns all points: more and more actions, larger and larger batches, wider and wider networks."""
    found: list[Point] = []
    for algorithm in ALGORITHMS:
        found += [Point(algorithm, n_actions) for n_actions in (3, 16, 64, 256)]
        found += [Point(algorithm, n_actions, (128,)) for n_actions in (3, 16, 64, 256)]
        found += [Point(algorithm, batch_size=batch_size) for batch_size in (32, 512, 4096)]
        found += [Point(algorithm, net_arch=(hidden, hidden)) for hidden in (64, 1024)]
    return found


def measurements(seconds: float) -> list[Entry]:
    """Returns all measurements of scaling.

    Args:
        seconds: Most of each measurement; one call is made in any case.
    """
    return [entry for point in points() for entry in _of_point(point, seconds)]


def _of_point(point: Point, seconds: float) -> list[Entry]:
    @functools.cache  # made when it is first needed: not all rows may be asked for
    def learner() -> LearnerBenchmark:
        env = gym.make(many_actions.ENV_ID, n_actions=point.n_actions)
        return LearnerBenchmark(make_agent(point.algorithm, env, **point.settings()))

    @functools.cache
    def operations() -> int:
        return products.operations(products.update_products(learner().agent))

    def gflops(microseconds: float) -> float:
        return operations() / microseconds / 1e3

    found: list[Entry] = []
    for fused in FUSED:
        update = f"{point}: update, {fused} in a call"
        measure = partial(lambda fused: learner().update_microseconds(fused, MOST_CALLS, seconds), fused)
        found.append(one(update, "µs", measure))
        found.append(ratio(update, update.replace(str(point), str(point.base())), "base"))
    alone = f"{point}: products alone"
    return [
        *found,
        one(alone, "µs", lambda: products.microseconds_alone(products.update_products(learner().agent))),
        one(f"{point}: operations", "10⁶", lambda: operations() / 1e6),
        Derived(((f"{point}: rate", "GFLOP/s"),), (update,), gflops),
        Derived(((f"{point}: the machine's", "GFLOP/s"),), (alone,), gflops),
        one(f"{point}: memory, once", "MB", functools.cache(partial(memory_growth, point))),
    ]


def memory_growth(point: Point) -> float:
    """Returns by how many MB a new process's peak grows from the imports to the end of a call of 16 updates."""
    task = {
        "algorithm": point.algorithm,
        "env": f"{many_actions.__name__}:{many_actions.ENV_ID}",
        "env_kwargs": {"n_actions": point.n_actions},
        "settings": point.settings() | {"learning_starts": 0, "gradient_steps": FUSED[-1]},
        "agents": 1,
        "threads": n_threads(),
    }
    found = run_script("start_up.py", task)
    return found["megabytes"] - found["megabytes_before"]
