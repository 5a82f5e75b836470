import signal

import pytest

from pamdp_agents.experiments.interrupts import InterruptedOnce, SignalInterrupt, signals_as_interrupts


def test_a_signal_interrupts_once_until_something_has_been_done() -> None:
    done = [0]
    with InterruptedOnce(lambda: done[0]):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # while what was done is saved
        done[0] += 1  # the interrupt was swallowed
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_while_saving_is_kept_for_later() -> None:
    with signals_as_interrupts(), InterruptedOnce(lambda: 0) as signals:
        signals.saving = True
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert isinstance(signals.pending, SignalInterrupt) and signals.pending.number == signal.SIGTERM


def test_an_interrupt_of_which_something_made_an_error_is_found() -> None:
    done = [0]
    with signals_as_interrupts(), InterruptedOnce(lambda: done[0]) as signals:
        with pytest.raises(OSError):
            try:
                signal.raise_signal(signal.SIGTERM)
            except KeyboardInterrupt:
                raise OSError from None
        lost = signals.find_lost()
        assert isinstance(lost, SignalInterrupt) and lost.number == signal.SIGTERM
        done[0] += 1  # it went on, so that an error now is another
        assert signals.find_lost() is None


def test_handlers_are_as_before_and_those_of_others_stay() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as under nohup
        with signals_as_interrupts():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with signals_as_interrupts(), pytest.raises(SignalInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
