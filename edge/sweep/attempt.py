"""One attempt at a task, in the process that works on it: whatever happens there becomes an `Ending`."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from types import FrameType
from typing import Any

from shared.errors import Stopped


class How(Enum):
    """Ways in which an attempt ends."""

    RETURNED = auto()
    RAISED = auto()
    STOPPED = auto()
    DIED = auto()
    """The process, not the function."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    how: How
    value: Any = None
    """What was returned."""
    error: str | None = None
    """Class and message of what was raised."""
    seconds: float = 0.0


def attempt(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Ending:
    """Call `work` in the main thread of a process that does nothing else.

    SIGINT and SIGTERM interrupt work that has not arranged to be asked (`stop_on_signal`).
    """
    began = time.monotonic()
    value, error = None, None
    with _interruptible() as interrupt:
        try:
            interrupt.armed = True
            value = work(*arguments)
            how = How.RETURNED
        except (Stopped, KeyboardInterrupt):
            how = How.STOPPED
        except BaseException as raised:  # sys.exit() too: the process has other tasks to do
            how, error = How.RAISED, described(raised)
        interrupt.armed = False
    return Ending(how, value, error, time.monotonic() - began)


def described(error: BaseException) -> str:
    """Class and message, without the traceback, which would show what the functions were called with."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class _Interrupt:
    """A handler that raises once, and only while there is work to interrupt: Ctrl-C and the engine both signal."""

    def __init__(self) -> None:
        self.armed = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[_Interrupt]:
    interrupt = _Interrupt()
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
