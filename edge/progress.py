"""What a person sees while a run works: per stage a bar, its steps and its ETA; below, what is left to spend.

All of it goes to stderr and is drawn only on a terminal; elsewhere there is one line per stage.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from edge.stopping import StopRequest
from edge.training import Watcher
from shared.protocol import Usage

LABEL_WIDTH = len("held-out answers")


class Display:
    """Shows one run; a context manager.

    Args:
        console: where to; on a terminal it is drawn anew several times a second.
        budget: queries of the run, all stages together; 0 where it asks nothing.
        quiet: show nothing.
        clock: seconds, monotonic.
    """

    def __init__(
        self, console: Console, budget: int, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._quiet, self._clock = console, quiet, clock
        self._budget, self._paid, self._paid_before = budget, 0, 0
        self._usage: Usage | None = None
        self._agreement: list[float] = []
        self._since = clock()
        self._bars = _Bars(self._facts, console, disable=quiet or not console.is_terminal)
        self._stages: dict[str, TaskID] = {}
        self._reading: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def watcher(self, stop: StopRequest) -> Watcher:
        """What a run reports to."""
        return Watcher(
            should_stop=stop,
            on_step=self._step,
            on_answer=self._answered,
            on_key=self._key,
            on_read=self._read,
            on_remark=self._remark,
        )

    def _key(self, usage: Usage | None, paid: int) -> None:
        self._usage, self._paid, self._paid_before = usage, paid, paid

    def _answered(self, images: int) -> None:
        self._paid += images

    def _read(self, read: int, total: int) -> None:
        if self._reading is None:
            self._reading = self._bars.add_task("image files", total=total, unit="files")
            if not self._console.is_terminal:
                self._remark(f"reading {total} image files")
        self._bars.update(self._reading, completed=read)

    def _remark(self, text: str) -> None:
        if not self._quiet:
            self._console.print(escape(text), soft_wrap=True, highlight=False)

    def _step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total, completed=done, unit="steps")
            if not self._console.is_terminal and not self._quiet:
                self._console.print(f"{stage}: {total - done + 1} of {total} steps to do")
        if "held-out agreement" in values:
            self._agreement.append(values["held-out agreement"])
        self._bars.update(self._stages[stage], completed=done)

    def _facts(self) -> RenderableType:
        """What is left to spend, how good the student is by now, and since when it works."""
        facts = Table.grid(padding=(0, 1))
        facts.add_column(min_width=LABEL_WIDTH)
        facts.add_column()
        if self._budget:
            facts.add_row("queries left", self._left())
        if self._agreement:
            now, best = self._agreement[-1], max(self._agreement)
            facts.add_row("held-out answers", f"{now:.1%} agree; {best:.1%} at best")
        facts.add_row("elapsed", str(timedelta(seconds=int(self._clock() - self._since))))
        return facts

    def _left(self) -> str:
        left = f"{max(0, self._budget - self._paid):,} of {self._budget:,} of this run"
        if self._usage is None:
            return left
        remaining = max(0, self._usage.remaining - (self._paid - self._paid_before))
        return f"{left}; {remaining:,} of {self._usage.budget:,} of key {escape(self._usage.client)}"


class _Bars(Progress):
    """Bars of the stages with `below` under them."""

    def __init__(self, below: Callable[[], RenderableType], console: Console, *, disable: bool) -> None:
        self._below = below
        super().__init__(
            TextColumn(f"{{task.description:<{LABEL_WIDTH}}}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("ETA", style="dim"),
            TimeRemainingColumn(),
            console=console,
            disable=disable,
            refresh_per_second=4,
            expand=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn, from top to bottom."""
        yield self.make_tasks_table(self.tasks)
        yield self._below()
