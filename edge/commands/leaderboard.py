"""`mekd-edge leaderboard`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge.commands import completion
from edge.commands.options import OUTPUT, SOURCE, Json, Quiet, show


def leaderboard(
    *,
    rows: Annotated[
        list[Path],
        typer.Option(
            help="Rows of a sweep, .jsonl or .parquet; may be given several times.",
            metavar="FILE",
            rich_help_panel=SOURCE,
            autocompletion=completion.row_files,
        ),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="Method that the others are compared with, paired by seed.",
            show_default="lq, or else the first",
            metavar="METHOD",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder, made where there is none.", metavar="FOLDER", rich_help_panel=OUTPUT, file_okay=False
        ),
    ],
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write leaderboard.html, .csv and .tex: many methods at many budgets, with intervals and what they cost.

    Example: mekd-edge leaderboard --rows runs/sweep/rows.jsonl --against kd --out runs/sweep
    """
    from edge.leaderboard.writing import write_leaderboard

    written = write_leaderboard(rows, out, against)
    names = ", ".join(path.name for path in written.values())
    show(
        {kind: str(path) for kind, path in written.items()},
        f"Written to {escape(str(out))}: {names}.",
        as_json=json,
        quiet=quiet,
    )
