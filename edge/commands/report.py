"""`mekd-edge report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge.commands import completion
from edge.commands.options import Json, Quiet, RunData, RunPath, prepare_torch, show


def report(
    run: RunPath,
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of another run, to compare by queries; may be given several times.",
            metavar="FOLDER",
            autocompletion=completion.run_folders,
        ),
    ] = None,
    data: RunData = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write report.html into a run's folder: what it took, curves, images, confusion, everything in one file.

    Example: mekd-edge report --run runs/mine --compare runs/other
    """
    prepare_torch()
    from edge.report.page import write_report
    from edge.run_folder import RunFolder

    page = write_report(RunFolder(run), data, [RunFolder(path) for path in compare or []])
    show({"report": str(page)}, f"Report written to {escape(str(page))}.", as_json=json, quiet=quiet)
