"""The rows of a sweep's folder: one per cell, a line of JSON each as they come, and a Parquet file of all of them."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import edge
from edge.config import Config
from edge.methods import method_of
from edge.sweep.grid import Cell
from edge.transfer_set.lock import exclusive_lock
from shared.errors import InvalidCheckpoint, InvalidConfig
from shared.whole_files import write_atomically

NESTED = ("queries_by_stage", "config", "software", "hardware")
"""Columns that Parquet holds as JSON strings: their fields differ from row to row."""


class Rows:
    """The rows in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path, self.parquet = folder / "rows.jsonl", folder / "rows.parquet"

    def read(self) -> dict[str, dict[str, Any]]:
        """By the cell's name; of several rows of a cell the last one counts.

        Raises:
            InvalidCheckpoint: a line that is no row.
        """
        rows: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(self._whole_lines(), 1):
            try:
                row = json.loads(line)
                rows[Cell(**{field.name: row[field.name] for field in fields(Cell)}).name] = row
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidCheckpoint(f"{self.path}, line {number}, is no row of a sweep: {error!r}.") from None
        return rows

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One sweep at a time: another one would lose rows that come meanwhile.

        Raises:
            RunMismatch: another process has the rows.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = exclusive_lock(self.path)
        try:
            yield
        finally:
            os.close(lock)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; it is on the disk when this returns."""
        lines = self._whole_lines()
        write_atomically(self.path, "".join(line + "\n" for line in [*lines, json.dumps(row)]).encode())

    def _whole_lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    def check_parquet(self) -> None:
        """Refuse to begin what could not end.

        Raises:
            InvalidConfig: pyarrow, which writes Parquet, is not installed.
        """
        if find_spec("pyarrow") is None:
            raise InvalidConfig('A sweep writes its rows as Parquet too: pip install ".[sweep]".')

    def write_parquet(self) -> None:
        """Write all rows once more, as Parquet."""
        import pyarrow as pa  # only sweeps need it
        from pyarrow import parquet

        if not (rows := self.read()):
            return
        names = dict.fromkeys(name for row in rows.values() for name in row)  # failed rows lack some
        flat = [
            {name: json.dumps(row.get(name)) if name in NESTED else row.get(name) for name in names}
            for row in rows.values()
        ]
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(flat), sink)
        write_atomically(self.parquet, sink.getvalue().to_pybytes())


def row_of(cell: Cell, track: str, teacher: str, made: dict[str, Any]) -> dict[str, Any]:
    """The row of a cell that succeeded; `made` is what `edge.sweep.work.make_student` returned."""
    return (
        _cell(cell, track, teacher)
        | {"status": "ok", "error": None}
        | made
        | {"software": {**made["software"], "commit": commit()}}
    )


def failed_row(cell: Cell, track: str, teacher: str, config: Config, asked: int, error: str) -> dict[str, Any]:
    """The row of a cell that failed, after it had asked about so many images."""
    nothing = ("accuracy", "fidelity", "kl_nats", "calibration_error", "teacher_accuracy", "link_seconds")
    zero = ("bytes_up", "bytes_down", "test_images")
    return (
        _cell(cell, track, teacher)
        | {"status": "failed", "error": error, "seconds": 0.0, "queries_by_stage": {}}
        | dict.fromkeys(nothing)
        | dict.fromkeys(zero, 0)
        | {"queries": asked, "paid": asked}
        | {"sends": method_of(config).sends, "config": config.model_dump()}
        | {"software": {"commit": commit()}, "hardware": {}}
    )


def done(row: Mapping[str, Any] | None, config: Config) -> bool:
    """Whether a row says that the cell was made with this config."""
    return row is not None and row["status"] == "ok" and row["config"] == config.model_dump()


@cache
def commit() -> str | None:
    """Of the code, where git keeps it; with a plus where it was changed since.

    An installed copy may lie in the checkout of another project, whose commits say nothing about it.
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(edge.__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        git("ls-files", "--error-unmatch", edge.__file__)
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _cell(cell: Cell, track: str, teacher: str) -> dict[str, Any]:
    return asdict(cell) | {"track": track, "teacher": teacher}
