"""Waiting for what another thread or process is about to do."""

import time
from collections.abc import Callable


def eventually(is_so: Callable[[], bool], seconds: float = 30) -> None:
    """Returns as soon as `is_so`; a failure where that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be so"
        time.sleep(0.01)
