"""What each stage of a run took: queries and bytes by the edge's journal, queries by the server's meter, seconds."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.asking.teacher import Teacher
from edge.asking.wire_bytes import counted
from edge.planning.plan import STAGES, Plan
from edge.transfer_set.journal import Journal
from shared.protocol import Usage

BOOKKEEPING = "bookkeeping"
"""Traffic that asks about no image: metadata and usage."""


@contextmanager
def timed(journal: Journal, stage: str) -> Iterator[None]:
    """Add the seconds of the block to those that the stage took in earlier starts."""
    before, started = seconds(journal, stage), time.monotonic()
    try:
        yield
    finally:
        journal.note(f"{stage}.seconds", before + time.monotonic() - started)


def seconds(journal: Journal, stage: str) -> float:
    """Seconds that a stage took so far."""
    return float(journal.notes().get(f"{stage}.seconds", 0.0))


class Account:
    """Keeps the account of a run in its journal, over as many starts as the run takes."""

    def __init__(self, journal: Journal, teacher: Teacher) -> None:
        self._journal, self._teacher = journal, teacher

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Account a stage."""
        notes = self._journal.notes()
        if f"{name}.spent_before" not in notes:
            self._journal.note(f"{name}.spent_before", self._spent())
        with timed(self._journal, name):
            yield
        if f"{name}.spent_after" not in notes:
            self._journal.note(f"{name}.spent_after", self._spent())

    def stages(self, plan: Plan) -> dict[str, dict[str, Any]]:
        """By stage: planned and paid queries, the server's count, bytes, seconds on the link and in all."""
        notes = self._journal.notes()
        stages = {}
        for name in STAGES:
            before, after = notes[f"{name}.spent_before"], notes[f"{name}.spent_after"]
            traffic = self._journal.traffic(name)
            stages[name] = {
                "queries_planned": plan.queries[name],
                "queries": self._journal.queries(name),
                "queries_by_server": None if before is None or after is None else after - before,
                "bytes_up": traffic.up,
                "bytes_down": traffic.down,
                "link_seconds": round(traffic.link_seconds, 3),
                "seconds": round(seconds(self._journal, name), 2),
            }
        return stages

    def server(self) -> dict[str, Any] | None:
        """The key's state on the server, None where there is no meter."""
        usage = self._usage()
        return usage.model_dump() if usage else None

    def bookkeeping(self) -> dict[str, Any]:
        """Bytes and seconds on the link of all traffic that asked about no image."""
        traffic = self._journal.traffic(BOOKKEEPING)
        return {
            "bytes_up": traffic.up,
            "bytes_down": traffic.down,
            "link_seconds": round(traffic.link_seconds, 3),
        }

    def _spent(self) -> int | None:
        usage = self._usage()
        return usage.spent if usage else None

    def _usage(self) -> Usage | None:
        with counted() as traffic:
            usage = self._teacher.usage()
        self._journal.add_traffic(BOOKKEEPING, traffic)
        return usage
