"""Several learners of one kind, whose updates are one compiled call that runs while the caller does other things."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from pamdp_agents.learning.learner import Learner


class JointLearner:
    """Makes the updates of several learners in one compiled call, in another thread.

    Between two calls every learner has its own state, as a view of the joint one, and may be given another: only those
    that still have their view are as the last call left them, so the others are taken in anew before the next call.

    Args:
        learners: The learners. They differ in nothing but their states.
        shape: Shape of one learner's batches: (updates in a call, batch size, row size), none of them 0.
        compiler: The learner, of the same kind, whose compiled update is used.
        pool: Where the calls run.
        rule: Name of the rule.

    Attributes:
        rows: The next call's packed transitions, float32 [learners, updates, batch size, row size], to be filled in.
        inputs: Its rule's inputs, float32 [learners, len(rule's inputs)], to be filled in.
        seeds: Seeds of its first updates, float32 [learners, 2], to be filled in.
    """

    def __init__(
        self,
        learners: Sequence[Learner],
        shape: tuple[int, int, int],
        compiler: Learner,
        pool: ThreadPoolExecutor,
        rule: str = "update",
    ):
        self._learners, self._pool, self._placed = dict(enumerate(learners)), pool, compiler.placed
        self._views: list[Any] = [learner.state for learner in learners]
        self._states: tf.Tensor = None
        self._pending: Future[Sequence[tf.Tensor]] | None = None
        self._rule = rule
        self._compiled = compiler.compile_jointly(len(learners), shape, rule)
        for learner in learners:
            learner.joined = True
        packed = self._compiled.packed
        layout = compiler.call_layout(rule, shape)
        parts = layout.split(packed)  # views
        parts["updates"][:] = shape[0]
        self.rows, self.seeds = parts["rows"], parts["seed"]
        self.inputs = packed[:, layout.places["rows"].stop : layout.places["updates"].start]

    def start(self) -> None:
        """Starts the updates on `rows` and `inputs`; `finish` is the next call."""
        given = [i for i, learner in self._learners.items() if learner.state is not self._views[i]]
        for i in given:
            self._views[i] = self._learners[i].state
        if given or self._states is None:
            self._states = tf.stack(self._views)
        self._pending = self._pool.submit(self._run)
        time.sleep(1e-5)  # lets the other thread begin now

    def finish(self) -> Iterator[tuple[int, np.ndarray, np.ndarray | None, str]]:
        """Waits for the updates, if any were started, and gives the learners their new states, one after the other.

        Those that were given another state meanwhile keep it, and have made no updates; nor have those whose new state
        or metrics are not finite.

        Yields:
            The number of a learner that was not given another state, the metrics' means over its updates, float32
            [len(metrics)], the priorities, float32 [updates, batch size], if its rule gives them, and what is not
            finite; empty if it has its new state.
        """
        if self._pending is None:
            return
        metrics, *priorities = (np.asarray(memoryview(each)) for each in self._pending.result())
        self._pending = None
        states = np.asarray(memoryview(self._states))
        for i, learner in self._learners.items():
            if learner.state is self._views[i]:
                wrong = learner.find_divergence(states[i], metrics[i], self._rule)
                if not wrong:
                    learner.state = self._views[i] = states[i]
                yield i, metrics[i], priorities[0][i] if priorities else None, wrong

    def leave(self, i: int) -> None:
        """Gives a learner a state of its own again; what is computed in its place from now on is nobody's."""
        learner = self._learners.pop(i)
        learner.joined = False
        with learner.placed():
            learner.state = tf.constant(learner.state)

    def close(self) -> None:
        """Lets all learners leave. Updates under way must have been finished, or have failed."""
        for i in list(self._learners):
            self.leave(i)

    def _run(self) -> Sequence[tf.Tensor]:
        with self._placed():
            self._states, *others = self._compiled(self._states)
        return others
