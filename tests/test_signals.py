"""Signals: the first is remembered, the second stops at once, and a closed terminal's never counts as the second."""

import os
import signal

import pytest

from jnst.runtime import Interruptions, ending_signals

hangup = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signal")


@hangup
@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_closed_terminal_ends_a_run_unless_nohup_says_otherwise(handler: signal.Handlers) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in ending_signals()) == (handler is signal.SIG_DFL)
        assert {signal.SIGINT, signal.SIGTERM} < {*ending_signals(), 0}
        with Interruptions() as interruptions:
            if handler is signal.SIG_DFL:
                os.kill(os.getpid(), signal.SIGHUP)
                os.kill(os.getpid(), signal.SIGHUP)  # the shell's, after the system's
                assert interruptions.signal == signal.SIGHUP
        assert signal.getsignal(signal.SIGHUP) is handler
    finally:
        signal.signal(signal.SIGHUP, before)


@hangup
def test_the_first_signal_is_remembered_and_the_second_stops() -> None:
    numbers = (signal.SIGTERM, signal.SIGHUP)
    with Interruptions(numbers) as interruptions:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert interruptions.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
