"""The edge's program in processes of its own that start at once and may be killed, and what it has written so far."""

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from edge.cli import main
from edge.transfer_set.journal import Journal
from tests.forked import context

SECONDS = 120
"""After which whatever is waited for is not going to happen."""


class EdgeProcess:
    """`mekd-edge` with these arguments; what it says goes to the end of `said`."""

    def __init__(self, *arguments: str | Path, key: str, said: Path) -> None:
        self._said = said
        self._before = said.stat().st_size if said.exists() else 0
        self._process: ForkServerProcess = context.Process(target=_edge, args=([*map(str, arguments)], key, said))
        self._process.start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def said(self) -> str:
        """What it said so far."""
        return self._said.read_bytes()[self._before :].decode() if self._said.exists() else ""

    def wait_until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not happened():
            assert self._process.is_alive() and time.monotonic() < deadline, f"it never happened: {self.said()}"
            time.sleep(0.002)

    def runs_for(self, seconds: float) -> bool:
        """True if it still runs after `seconds`."""
        self._process.join(seconds)
        return self._process.is_alive()

    def kill(self) -> bool:
        """SIGKILL; False if it had ended before."""
        self._process.kill()
        self._process.join()
        return self._process.exitcode == -signal.SIGKILL

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def exit_code(self) -> int | None:
        """Once it has ended by itself."""
        self._process.join(SECONDS)
        return self._process.exitcode


def _edge(arguments: list[str], key: str, said: Path) -> None:
    with said.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ["MEKD_API_KEY"] = key
    os.environ["LOKY_MAX_CPU_COUNT"] = "1"  # thread: so small a network gains nothing from a second one
    sys.argv = ["mekd-edge", *arguments]
    main()


def answers(out: Path) -> int:
    """Requests that are answered in a running process's journal."""
    try:
        with closing(sqlite3.connect(f"file:{out / 'transfer_set.sqlite'}?mode=ro", uri=True)) as journal:
            (count,) = journal.execute("SELECT count(*) FROM requests WHERE answer IS NOT NULL").fetchone()
    except sqlite3.OperationalError:  # not there yet
        return 0
    return int(count)


def paid(journal_path: Path) -> tuple[int, int]:
    """Distinct images with an answer in a journal that nobody has open, and images paid for."""
    with Journal(journal_path) as journal:
        return journal.unique_images(), journal.queries()
