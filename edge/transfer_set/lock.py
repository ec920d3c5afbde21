"""One process at a time per file; another one waits a little."""

import fcntl
import os
import time
from pathlib import Path

from shared.errors import RunMismatch

PATIENCE_SECONDS, LOOK_SECONDS = 3.0, 0.01
"""Who only reads is soon done; a run has its file open from beginning to end."""


def exclusive_lock(path: Path) -> int:
    """A descriptor that locks `path` until it is closed or the process ends, however it ends.

    The lock is a file beside it: closing any descriptor of a database would drop the locks that SQLite has on it.

    Raises:
        RunMismatch: another process has the lock and keeps it.
    """
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (ours := _locked(descriptor)) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    if not ours:
        owner = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise RunMismatch(f"Process {owner} has {path} open. Wait until it has ended, or choose another run folder.")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
