"""A sweep in a process of its own, at the head of a process group, as a shell starts a command.

    python -m tests.edge.sweep.sweep_process local|ray|ADDRESS FOLDER WORK...

has two workers, and a task of each WORK, named for it and its place: `hold-0`, `deaf-1`.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from edge.stopping import stop_on_signal
from edge.sweep.engine import Engine
from edge.sweep.local import LocalEngine
from edge.sweep.on_ray import RayEngine
from edge.sweep.tasks import Outcome, Task
from shared import command_line
from tests.edge.sweep import work

INTERRUPTED = 99
"""Exit code of a second Ctrl-C."""


class SweepProcess:
    """The program, started; a context manager that kills what is left of its session."""

    def __init__(self, engine: str, folder: Path, *works: str) -> None:
        self._said, self._errors = folder / "stdout", folder / "stderr"
        with self._said.open("wb") as said, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", __name__, engine, folder, *works],
                stdout=said,
                stderr=errors,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in group(self.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait(work.SECONDS)

    @property
    def pid(self) -> int:
        return self._process.pid

    def said(self) -> str:
        return self._said.read_text()

    def errors(self) -> str:
        return self._errors.read_text()

    def runs(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, happened: Callable[[], bool]) -> None:
        work.wait_until(lambda: happened() or not self.runs())
        assert happened(), f"it ended before that: {self.said()}{self.errors()}"

    def ctrl_c(self) -> None:
        """What a terminal does: a signal to every process of the group."""
        os.killpg(self.pid, signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self) -> int:
        return self._process.wait(work.SECONDS)


def group(leader: int) -> list[int]:
    """Living processes of a session: those that its leader has started, and theirs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def python_runs(process: int) -> bool:
    """True once the interpreter of a spawned process handles Ctrl-C, long before it has imported anything of ours."""
    try:
        spawned = "spawn_main" in Path(f"/proc/{process}/cmdline").read_text()
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # ended meanwhile
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return spawned and bool(caught & 1 << signal.SIGINT - 1)


def main(engine: str, folder: str, *works: str) -> None:
    tasks = [
        Task(f"{name}-{place}", getattr(work, name), (Path(folder), f"{name}-{place}") if name in WITH_FOLDER else ())
        for place, name in enumerate(works)
    ]

    def begins(name: str) -> None:
        print("begins", name, flush=True)  # noqa: T201 - for the test

    def ended(outcome: Outcome) -> None:
        print(outcome.name, outcome.value, outcome.error, flush=True)  # noqa: T201 - for the test

    with stop_on_signal() as stop:

        def should_stop() -> bool:
            if stop():
                print("stops", flush=True)  # noqa: T201 - for the test
            return stop()

        engine_of(engine).run(tasks, begins, ended, should_stop)


WITH_FOLDER = {"hold", "sleep", "deaf"}


def engine_of(name: str) -> Engine:
    if name == "local":
        return LocalEngine(2)
    return RayEngine(None, cores=2) if name == "ray" else RayEngine(name)


if __name__ == "__main__":
    try:
        command_line.run(lambda: main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
