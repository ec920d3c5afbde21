"""What the tests let processes do. Nothing here goes on for ever, not even when a test fails."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge.stopping import stop_on_signal
from shared.errors import BudgetTooSmall, Stopped
from tests.eventually import eventually

SECONDS = 120
"""After which whatever is waited for is not going to happen."""


def add(*numbers: int) -> int:
    return sum(numbers)


def pid() -> int:
    return os.getpid()


def fail(message: str) -> None:
    raise BudgetTooSmall(message)


def leave() -> None:
    raise SystemExit(1)


def a_lock() -> object:
    """A value that no pipe can carry."""
    return threading.Lock()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        die()
    return "survived"


def threads() -> tuple[int, str, int]:
    """Of torch; in the environment; of torch when a task asks for all there are."""
    import torch

    from shared import compute

    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], compute.use_threads()


def hold(folder: Path, name: str) -> int:
    """Work until `folder/release` exists; stores its state when it is asked to stop."""
    with stop_on_signal() as stop:
        _say(folder, name)
        for _ in range(SECONDS * 100):
            if (folder / "release").exists():
                break
            if stop():
                time.sleep(0.3)  # a state takes time to store, and a second signal must not come between
                (folder / f"{name}.saved").touch()
                raise Stopped("Stopped, and stored.")
            time.sleep(0.01)
    return os.getpid()


def sleep(folder: Path, name: str) -> None:
    """Work that has not arranged to be asked."""
    _say(folder, name)
    time.sleep(SECONDS)


def deaf(folder: Path, name: str) -> None:
    """Work that nothing but SIGKILL ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _say(folder, name)
    time.sleep(SECONDS)


def _say(folder: Path, name: str) -> None:
    """Write who works on `name`; one more line for every attempt."""
    with (folder / f"{name}.pids").open("a") as file:
        file.write(f"{os.getpid()}\n")


def pids(folder: Path, *names: str) -> list[int]:
    """Processes that have begun to work on these tasks, the last one of each."""
    files = [folder / f"{name}.pids" for name in names]
    return [int(file.read_text().split()[-1]) for file in files if file.exists() and file.read_text().endswith("\n")]


def lives(process: int) -> bool:
    """True if there is such a process, and it is no zombie that its parent has yet to bury."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(happened: Callable[[], bool]) -> None:
    eventually(happened, SECONDS)
