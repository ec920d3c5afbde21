"""An attempt at a task in a worker of Ray, where a stop arrives in another way than by a signal."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edge.sweep.attempt import Ending, attempt
from shared import compute


def attempt_on_ray(threads: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> Ending:
    """`attempt` with so many threads."""
    compute.keep_freed_memory()
    compute.limit_threads(threads)
    with _woken_by_cancel():
        return attempt(work, arguments)


@contextmanager
def _woken_by_cancel() -> Iterator[None]:
    """Let `ray.cancel` reach work that waits: it marks SIGINT as come, and no system call returns for that.

    The mark is seen at the wakeup file of Python's signals, and a real SIGTERM is sent after it.
    """
    main = threading.get_ident()
    hear, tell = socket.socketpair()
    tell.setblocking(False)

    def wake() -> None:
        while numbers := hear.recv(64):
            if signal.SIGINT in numbers:
                signal.pthread_kill(main, signal.SIGTERM)

    listener = threading.Thread(target=wake, daemon=True)
    listener.start()
    before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        tell.close()
        listener.join()
        hear.close()
