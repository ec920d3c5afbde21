import os
import signal
import threading

import pytest

from edge.stopping import StopRequest, stop_on_signal
from shared.errors import Stopped


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_no_exception(number: signal.Signals) -> None:
    with stop_on_signal() as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()


def test_the_second_ctrl_c_interrupts_at_once_but_a_second_sigterm_does_not() -> None:
    with stop_on_signal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_from_before_come_back_even_after_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with stop_on_signal():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    with pytest.raises(ZeroDivisionError), stop_on_signal():
        raise ZeroDivisionError
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_sleep_ends_with_the_request_and_says_how_to_go_on() -> None:
    stop = StopRequest()
    stop.sleep(0.001)
    threading.Timer(0.05, stop.ask).start()
    with pytest.raises(Stopped, match="same command goes on"):
        stop.sleep(60)
    with pytest.raises(Stopped):
        stop.sleep(0)
