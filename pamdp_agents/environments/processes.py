"""Processes in which the environments of a vector environment run, and what is left when one of them has ended."""

from __future__ import annotations

import threading
import time
import weakref
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from pamdp_agents.environments.returned import Fault

PATIENCE = 20.0
"""Seconds in which an environment must answer a call that was interrupted, before it is given up."""

NEW = "give the agent other environments with set_env"


class Processes:
    """The processes of an `AsyncVectorEnv` or a `SubprocVecEnv`; of any other environment, none.

    Both wait for ever for the answer of a process that has ended or has answered already. So what has ended is looked
    for when something failed, and before environments are reset, and nothing more is asked of what is left.

    Args:
        env: The environment, with any wrappers.

    Attributes:
        patience: Seconds to wait for the answers to a call that was interrupted.
        resetting: Whether a reset of Stable-Baselines3's environments is under way, or was interrupted.
    """

    def __init__(self, env: Any) -> None:
        self._env = getattr(env, "unwrapped", env)
        given: Any = getattr(self._env, "processes", None)
        pipes: Any = getattr(self._env, "parent_pipes", getattr(self._env, "remotes", None))
        # An environment may have processes of its own.
        are_theirs = isinstance(given, list) and isinstance(pipes, list | tuple) and len(pipes) == len(given)
        self._processes: list[Any] = []
        if are_theirs and all(isinstance(each, BaseProcess) for each in given):
            self._processes = given
        self._lost: Fault | None = None
        self.patience, self.resetting = PATIENCE, False
        self._first_ended: int | None = None
        self._watch: threading.Thread | None = None

    @property
    def exist(self) -> bool:
        """Whether there are any."""
        return bool(self._processes)

    def check(self) -> None:
        """Does nothing if all processes are there.

        Raises:
            Fault: One has ended.
        """
        if lost := self._lost or self._look_for_ended():
            raise Fault(lost.what, lost.kind, lost.index)
        if self._watch is None and self._processes and hasattr(self._env, "remotes"):
            arguments = (weakref.ref(self), self._processes)
            self._watch = threading.Thread(target=_end_together, args=arguments, daemon=True)
            self._watch.start()

    def asked(self) -> bool:
        """Whether a call to Stable-Baselines3's environments is under way."""
        return self.resetting or getattr(self._env, "waiting", False)

    def note_first(self, index: int) -> None:
        """Takes note of the process that ended first."""
        self._first_ended = index

    def lost_by(self, error: Exception) -> Fault | None:
        """Returns what to say if an error came of a process that has ended, or ended it; else None."""
        if not self._processes:
            return None
        # The end of a pipe is seen before the end of its process.
        until = time.monotonic() + (1.0 if isinstance(error, EOFError | OSError) else 0.0)
        lost = self._lost or self._look_for_ended(error)
        while lost is None and time.monotonic() < until:
            time.sleep(0.01)
            lost = self._look_for_ended(error)
        self.patience = 0.0  # what failed in this process has read the answers, or some of them
        return lost

    def give_up(self, index: int | None = None) -> Fault:
        """Returns what to say of environments that owe an answer, of which nobody knows whether it was read."""
        return self._stop("has not answered a call that failed or was interrupted", index)

    def _look_for_ended(self, error: Exception | None = None) -> Fault | None:
        pipes = getattr(self._env, "parent_pipes", self._processes)  # None where Gymnasium's environment has failed
        ended = [i for i, pipe in enumerate(pipes) if pipe is None or not self._processes[i].is_alive()]
        if not ended:
            return None
        if getattr(self._env, "closed", False):
            return self._stop("has been closed", None)
        first = ended[0] if self._first_ended is None else self._first_ended
        if pipes[first] is None and error is not None:
            return self._stop(f"failed with {type(error).__name__}: {error}", first)
        self._processes[first].join(0.2)
        code = self._processes[first].exitcode
        how = "" if code is None else f" with exit code {code}" if code >= 0 else f", killed by signal {-code}"
        return self._stop(f"is lost: the process in which it ran has ended{how}", first)

    def _stop(self, what: str, index: int | None) -> Fault:
        """Ends all processes, so that nothing waits for them, also not `close`; returns what to say."""
        for process in self._processes:
            process.terminate()
        self._env.closed = True
        self._lost = Fault(f"{what}; {NEW}", RuntimeError, index)
        return self._lost


def _end_together(owner: weakref.ref[Processes], processes: list[Any]) -> None:
    """Waits for the end of a process; ends the others if the call under way waits for it.

    Where `SubprocVecEnv` forks its processes, each has the later ones' ends of the pipes, too, so that none of these is
    closed when a later process ends, and who waits for its answer does so for ever.
    """
    sentinels = [process.sentinel for process in processes]
    first = sentinels.index(wait(sentinels)[0])
    while any(process.is_alive() for process in processes):
        own = owner()
        if own is None:
            return
        if own.asked():
            own.note_first(first)
            for process in processes:
                process.terminate()
            return
        del own
        time.sleep(0.1)
