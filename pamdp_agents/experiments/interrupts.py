"""Signals that end a training: once, and never in the middle of saving."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""The signals that ask a program to end; Windows has no SIGHUP."""


class SignalInterrupt(KeyboardInterrupt):
    """A signal asks the program to end.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def signals_as_interrupts() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP raise `SignalInterrupt`, as Ctrl-C raises KeyboardInterrupt.

    One that something else handles, or that is ignored (`nohup`), stays as it is.
    """

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise SignalInterrupt(number)

    changed = [number for number in ENDING if in_main_thread() and signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def in_main_thread() -> bool:
    """Returns whether this thread is the one that signals interrupt, and that may say how."""
    return threading.current_thread() is threading.main_thread()


class InterruptedOnce:
    """Within it, a signal that interrupts does so once: others that follow do not disturb what is done about it.

    `timeout`, a shell and an impatient user send two. Only what Python handles is concerned.

    Args:
        count: Counts what is done. If it has gone on, an earlier interrupt was swallowed on its way, as some
            libraries do, and the next interrupts again.

    Attributes:
        saving: True: no signal interrupts; the first is kept in `pending`.
        pending: The interrupt that a signal meant while `saving`, or None.
        raised: The last one that a signal raised, or None.
    """

    def __init__(self, count: Callable[[], int]):
        self.saving = False
        self.pending: KeyboardInterrupt | None = None
        self.raised: KeyboardInterrupt | None = None
        self._count, self._interrupted_at = count, -1
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> InterruptedOnce:
        for number in ENDING if in_main_thread() else ():
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._handle)
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        count = self._count()
        if self._interrupted_at == count or (self.saving and self.pending is not None):
            return
        try:
            self._handlers[number](number, frame)
        except KeyboardInterrupt as interrupt:
            if self.saving:
                self.pending = interrupt
            else:
                self._interrupted_at, self.raised = count, interrupt
                raise

    def find_lost(self) -> KeyboardInterrupt | None:
        """Returns the interrupt of which another library made the error that ended what is done, if one did."""
        return self.raised if self._interrupted_at == self._count() else None
