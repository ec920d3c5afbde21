"""Ctrl-C as a request: the work stops at the next safe place, and the same command goes on from there."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.errors import Stopped


class StopRequest:
    """Set once by the first SIGINT or SIGTERM; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        """True once a stop was asked for."""
        return self._event.is_set()

    def ask(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Wait, but not through a stop.

        Raises:
            Stopped: a stop was asked for before or meanwhile.
        """
        if self._event.wait(seconds):
            raise Stopped("Stopped while waiting for the server. The same command goes on from there.")


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a `StopRequest` within the block."""
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request() and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.ask()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
