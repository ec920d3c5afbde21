"""One process at a time per file."""

import fcntl
import os
from pathlib import Path

from shared.errors import RunMismatch


def exclusive_lock(path: Path) -> int:
    """A descriptor that locks `path` until it is closed or the process ends, however it ends.

    The lock is a file beside it: closing any descriptor of a database would drop the locks that SQLite has on it.

    Raises:
        RunMismatch: another process has the lock.
    """
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise RunMismatch(
            f"Process {owner} has {path} open. Wait until it has ended, or choose another run folder."
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
