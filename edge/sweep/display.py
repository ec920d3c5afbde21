"""What a person sees while a sweep works: how far it is, when it will be done, what runs, and what was paid.

All of it goes to stderr and is drawn only on a terminal; elsewhere there is a line per student.
"""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

RUNNING_SHOWN = 12


class SweepDisplay:
    """Shows one sweep; a context manager.

    Args:
        console: where to.
        students: to be made.
        workers: at once.
        quiet: show nothing.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        console: Console,
        students: int,
        workers: int,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._quiet, self._clock = console, quiet, clock
        self._students, self._workers = students, workers
        self._made = self._failed = self._paid = self._saved = 0
        self._running: dict[str, float] = {}
        self._took: list[float] = []
        self._live = Live(get_renderable=self.picture, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def started(self, task: str) -> None:
        """A task began."""
        self._running[task] = self._clock()

    def prepared(self, task: str, error: str | None) -> None:
        """A task that makes no student ended."""
        self._ended(task)
        if error:
            self._say(f"[red]{escape(task)} failed.[/red] {escape(error)}")

    def made(self, task: str, row: Mapping[str, Any]) -> None:
        """A student was made, or could not be made."""
        seconds = self._ended(task)
        if row["status"] != "ok":
            self._failed += 1
            self._say(f"[red]{escape(task)} failed.[/red] {escape(row['error'])}")
            return
        self._took.append(seconds)
        self._made += 1
        self._paid += row["paid"]
        self._saved += row["queries"] - row["paid"]
        self._say(f"{escape(task)}  {row['accuracy']:.2%}, {row['queries']:,} queries, {row['paid']:,} paid")

    def picture(self) -> RenderableType:
        """The present state."""
        done = self._made + self._failed
        facts = f"{done} of {self._students} students, {self._failed} failed; {self._paid:,} queries paid, "
        facts += f"{self._saved:,} saved"
        if (left := self.seconds_left()) is not None:
            facts += f"; about {timedelta(seconds=round(left))} left"
        table = Table("works on", "for", box=None, pad_edge=False)
        for task, since in list(self._running.items())[:RUNNING_SHOWN]:
            table.add_row(escape(task), str(timedelta(seconds=round(self._clock() - since))))
        return Group(facts, table)

    def seconds_left(self) -> float | None:
        """By what students took so far on average, without those that failed; None before the first one."""
        left = self._students - self._made - self._failed
        if not self._took:
            return None
        return left * sum(self._took) / len(self._took) / max(1, min(self._workers, left))

    def _ended(self, task: str) -> float:
        began = self._running.pop(task, self._clock())
        return self._clock() - began

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(line, soft_wrap=True)
