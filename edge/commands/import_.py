"""`mekd-edge import`."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import Json, Quiet, prepare_torch, show


def import_(
    file: Annotated[Path, typer.Argument(help="Transfer file that 'export' or 'merge' wrote.", metavar="FILE")],
    run: Annotated[
        Path,
        typer.Option(
            help="Folder of a run whose student has not begun to learn; made where there is none.", metavar="FOLDER"
        ),
    ],
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Put paid answers into a run's folder: 'distill' there learns from them and never pays for these images again.

    Example: mekd-edge import mine.safetensors --run runs/next
    """
    prepare_torch()
    from edge.report.pairs_table import pairs_table
    from edge.run_folder import RunFolder
    from edge.transfer_set import transfer_file
    from edge.transfer_set.run_pairs import import_pairs

    pairs = transfer_file.load(file)
    new = import_pairs(pairs, RunFolder(run), str(file))
    done = {"run": str(run), "pairs": len(pairs), "new": new, "known": len(pairs) - new}
    show(done, pairs_table("Imported", done), as_json=json, quiet=quiet)
