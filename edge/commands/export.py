"""`mekd-edge export`."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import OUTPUT, Json, Quiet, RunPath, prepare_torch, show

To = Annotated[
    Path,
    typer.Option(
        help="Transfer file to write (safetensors); what is there already is never written over.",
        metavar="FILE",
        rich_help_panel=OUTPUT,
    ),
]


def export(run: RunPath, to: To, quiet: Quiet = False, json: Json = False) -> None:
    """Write all that a run has paid for into one file: every image once, with its answer and its stage.

    Example: mekd-edge export --run runs/mine --to mine.safetensors
    """
    prepare_torch()
    from edge.report.pairs_table import described, pairs_table
    from edge.run_folder import RunFolder
    from edge.transfer_set import transfer_file
    from edge.transfer_set.run_pairs import run_pairs

    pairs = run_pairs(RunFolder(run))
    transfer_file.save(to, pairs)
    written = described(to, pairs)
    show(written, pairs_table("Exported", written), as_json=json, quiet=quiet)
