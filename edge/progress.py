"""What a person sees while a run works: a bar per stage with its ETA, and the queries that were answered.

Bars go to stderr and appear only on a terminal; elsewhere there is one line per stage.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from edge.stopping import StopRequest
from edge.training import Watcher


class Display:
    """Bars for one command; a context manager."""

    def __init__(self, console: Console, queries: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._queries = self._progress.add_task("queries", total=queries, note="")
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def watcher(self, stop: StopRequest) -> Watcher:
        """What a run reports to."""
        return Watcher(should_stop=stop, on_step=self._step, on_answer=self._answered)

    def _answered(self, images: int) -> None:
        self._progress.advance(self._queries, images)

    def _step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=total, completed=done, note="")
            if not self._console.is_terminal:
                self._console.print(f"{stage}: {total - done + 1} of {total} steps to do")
        task = self._stages[stage]
        self._progress.update(task, completed=done)
        if "held-out agreement" in values:
            self._progress.update(task, note=f"{values['held-out agreement']:.1%} on held-out answers")
