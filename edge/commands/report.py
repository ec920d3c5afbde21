"""`mekd-edge report`."""

from rich.markup import escape

from edge.commands.options import DataRoot, RunPath, console, prepare_torch


def report(run: RunPath, data_root: DataRoot = None) -> None:
    """Write report.html: curves, real and generated images, queries, bytes, seconds."""
    prepare_torch()
    from edge.report.page import write_report
    from edge.run_folder import RunFolder

    console.print(f"Report written to {escape(str(write_report(RunFolder(run), data_root)))}.", soft_wrap=True)
