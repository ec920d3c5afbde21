"""The leaderboard's three files, from the rows of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from edge.leaderboard.boards import boards
from edge.leaderboard.exports import as_csv, as_tex
from edge.leaderboard.page import page
from edge.leaderboard.rows import read_rows
from shared.whole_files import write_atomically


def write_leaderboard(files: Sequence[Path], out: Path, against: str | None = None) -> dict[str, Path]:
    """Write leaderboard.html, .csv and .tex, and return their paths by kind.

    Args:
        files: rows, as JSON lines or Parquet.
        out: folder, made where there is none.
        against: method whose seeds the others are paired with; by default lq, or else a board's first.

    Raises:
        InvalidConfig: a file or a row cannot be read, there is none, or no row is of the method `against`.
    """
    found = boards(read_rows(files), against)
    texts = {"html": page(found, against), "csv": as_csv(found), "tex": as_tex(found)}
    written = {kind: out / f"leaderboard.{kind}" for kind in texts}
    for kind, path in written.items():
        write_atomically(path, texts[kind].encode())
    return written
