"""`mekd-edge merge`."""

from pathlib import Path
from typing import Annotated

import typer

from edge.commands.export import To
from edge.commands.options import Json, Quiet, prepare_torch, show


def merge(
    first: Annotated[Path, typer.Argument(help="Run folder or transfer file; its pairs come first.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Another one, of the same teacher.", metavar="B")],
    to: To,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Write the pairs of two runs or transfer files into one file, equal images once.

    Example: mekd-edge merge runs/mine other.safetensors --to both.safetensors
    """
    prepare_torch()
    from edge.report.pairs_table import described, pairs_table
    from edge.transfer_set import transfer_file
    from edge.transfer_set.run_pairs import read_pairs
    from edge.transfer_set.stored_pairs import joined, new_pairs

    ours, theirs = read_pairs(first), read_pairs(second)
    new = new_pairs(ours, theirs, str(first), str(second))
    pairs = joined(ours, new)
    transfer_file.save(to, pairs)
    written = described(to, pairs) | {"first": len(ours), "second": len(theirs), "common": len(theirs) - len(new)}
    show(written, pairs_table("Merged", written), as_json=json, quiet=quiet)
