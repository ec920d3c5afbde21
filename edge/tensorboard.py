"""Event files for TensorBoard, written while a run works: `tensorboard --logdir RUN/tensorboard`.

Each stage is a TensorBoard run of its own, because each counts its steps from 1; a third one, `queries`, counts the
queries that were paid over time. A stage that goes on after a stop begins its event file anew, with the curves up to
where it goes on: steps that were taken but not kept would otherwise stand there twice, as a zigzag. `curves.json`
remains the record; these files are for watching and comparing.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from edge.training import Curves, Watcher
from shared.protocol import Usage

FLUSH_SECONDS = 2.0
QUERIES = "queries"


class EventFile:
    """One more event file in `folder`, with scalars.

    Args:
        folder: made where there is none.
        suffix: of the file's name, which is otherwise the second of its making.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer, self._flushed = EventsWriter(str(folder / "events"), suffix), time.monotonic()

    def forget_earlier(self) -> None:
        """Have a TensorBoard that already looks at this folder drop what it read of earlier files."""
        self._writer.write_event(Event(wall_time=time.time(), session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write scalars by name; they reach the disk within seconds of further ones, and at the end."""
        scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class EventFiles:
    """The event files of one start of a run, below `folder`; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, EventFile] = {}
        self._paid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def watcher(self) -> Watcher:
        """What a run reports to."""
        return Watcher(on_key=self._key, on_start=self._start, on_step=self._step, on_answer=self._answered)

    def _key(self, usage: Usage | None, paid: int) -> None:
        """What was paid is never paid again, so these points only ever go on: earlier files stay."""
        self._files[QUERIES], self._paid = EventFile(self._folder / QUERIES, f".{paid}"), paid

    def _start(self, stage: str, curves: Curves) -> None:
        for earlier in (self._folder / stage).glob("events.out.tfevents.*"):
            earlier.unlink()
        file = self._files[stage] = EventFile(self._folder / stage)
        file.forget_earlier()
        for name, points in curves.items():
            for step, value in points:
                file.add(step, {name: value})

    def _step(self, stage: str, done: int, total: int, values: Mapping[str, float]) -> None:
        self._files[stage].add(done, values)

    def _answered(self, images: int) -> None:
        self._paid += images
        self._files[QUERIES].add(self._paid, {"queries paid": self._paid})
