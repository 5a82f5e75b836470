"""Where the time of one step of `learn` goes, one environment and one update a step.

Timers are put around the methods in `PARTS` while the agent learns, from outside. Each part's time is its own:
without that of the parts that it calls, and without the timers' work, which is between two readings of the clock that
belong to no part; what cannot be put there (calling the timer) is measured with a function that does nothing, and
subtracted. From one call of the environment's step to the next is one step. The rows are medians over the steps, each
part for itself; the last but two is what the mean step takes beyond the sum of these medians, so all add up to the mean
step. Beside it stands the mean step without any timers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
from tensorflow.python import pywrap_tfe

from pamdp_agents.base.off_policy import OffPolicyAgent
from pamdp_agents.benchmark.measuring import Measurement
from pamdp_agents.benchmark.trainings import TrainingBenchmark
from pamdp_agents.environments.canonical import CanonicalEnvironments
from pamdp_agents.learning.compiled_update import CompiledUpdate

# What is timed: label, owner of the method given the agent, the method's name. The first one begins a step.
# TensorFlow has no public name for where its Python code ends and its execution begins.
PARTS: tuple[tuple[str, Callable[[OffPolicyAgent], Any], str], ...] = (
    ("environment's step", lambda agent: agent.env.envs[0], "step"),
    ("before it: action in the environment's units", lambda agent: CanonicalEnvironments, "start_step"),
    ("after it: observation scaled and checked", lambda agent: CanonicalEnvironments, "finish_step"),
    ("acting greedily", lambda agent: agent.acting, "decide"),
    ("exploring", lambda agent: agent.explorer, "explore"),
    ("storing", lambda agent: agent.replay_buffer, "store"),
    ("sampling", lambda agent: agent.replay_buffer, "draw"),
    ("packing the batch", lambda agent: agent.learner, "train"),
    ("update, around TensorFlow's execution", lambda agent: CompiledUpdate, "__call__"),
    ("update, in TensorFlow's execution", lambda agent: pywrap_tfe, "TFE_Py_Execute"),
    ("weights for acting", lambda agent: agent.learner, "weights"),
)

OTHERS = (
    "the rest of the loop",
    "beyond the medians: ends of episodes, resets, logs, interruptions",
    "mean step, the sum of all these",
    "mean step, without timers",
)


class Timers:
    """The parts' own times, step by step.

    Attributes:
        steps: For each step since the first, seconds of each part and, last, of the rest.
    """

    def __init__(self) -> None:
        self.steps: list[list[float]] = []
        self._inside, self._outside = 0.0, 0.0  # what a timer adds to its part, and to the caller's
        self._own = [0.0] * (len(PARTS) + 1)
        self._stack = [len(PARTS)]
        self._mark = time.perf_counter()
        self._inside, self._outside = self._calibrate()

    def around(self, part: int, function: Callable) -> Callable:
        """Returns the function with a timer around it."""
        clock = time.perf_counter

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._own[self._stack[-1]] += clock() - self._mark - self._outside
            if part == 0:
                self.steps.append(self._own)
                self._own = [0.0] * len(self._own)
            self._stack.append(part)
            self._mark = clock()
            try:
                return function(*args, **kwargs)
            finally:
                self._own[part] += clock() - self._mark - self._inside
                self._stack.pop()
                self._mark = clock()

        return timed

    def _calibrate(self, calls: int = 10_000) -> tuple[float, float]:
        """Returns the seconds that a timer adds to its part and to the caller's."""

        def nothing(*args: Any) -> None:
            pass

        timed = self.around(1, nothing)
        self._mark = start = time.perf_counter()
        for _ in range(calls):
            nothing(None)
        plain = time.perf_counter() - start
        self._mark = time.perf_counter()
        for _ in range(calls):
            timed(None)
        inside, outside = self._own[1] / calls, (self._own[-1] - plain) / calls
        self._own = [0.0] * len(self._own)
        return inside, max(outside, 0.0)


@contextlib.contextmanager
def timers(agent: OffPolicyAgent) -> Iterator[Timers]:
    """Puts the timers around the parts, and takes them away again."""
    found = Timers()
    with contextlib.ExitStack() as stack:
        for part, (_, owner, name) in enumerate(PARTS):
            timed = found.around(part, getattr(owner(agent), name))
            stack.enter_context(mock.patch.object(owner(agent), name, timed))
        yield found


class StepProfile:
    """The parts of a step of one agent.

    Args:
        algorithm: Class name of the agent.
        env_id: Its environment.
    """

    def __init__(self, algorithm: str, env_id: str):
        self._training = TrainingBenchmark(algorithm, env_id, 1, 1, 1)

    def microseconds(self, steps: int) -> list[float]:
        """Returns the microseconds of `PARTS` and `OTHERS`."""
        without = 1e6 / self._training.steps_per_second(steps)
        with timers(self._training.agent) as found:
            self._training.agent.learn(steps, reset_num_timesteps=False)
        parts = 1e6 * np.array(found.steps[1:])  # the first lacks a beginning
        medians, mean = np.median(parts, 0), parts.sum(1).mean()
        return [*medians, mean - medians.sum(), mean, without]


def measurements(steps: int, algorithm: str, env_id: str) -> list[Measurement]:
    """Returns the profile as one measurement.

    Args:
        steps: Steps of each repeat, with timers and without.
        algorithm: Class name of the agent.
        env_id: Its environment.
    """
    profile = StepProfile(algorithm, env_id)
    labels = [label for label, _, _ in PARTS] + list(OTHERS)
    return [Measurement(tuple((label, "µs") for label in labels), lambda: profile.microseconds(steps))]
