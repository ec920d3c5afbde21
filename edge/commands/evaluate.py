"""`mekd-edge evaluate`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from edge.commands.options import (
    DataRoot,
    Json,
    LinkName,
    MaybeServer,
    Quiet,
    RealTime,
    RunPath,
    console,
    prepare_torch,
    show,
    the_link,
    the_teacher,
)


def evaluate(
    run: RunPath,
    server: MaybeServer = None,
    data_root: DataRoot = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Own labelled images instead of the dataset's: a folder, a subfolder per class."),
    ] = None,
    send_test_images: Annotated[
        bool, typer.Option("--send-test-images", help="Let the images of --test leave this device, to the server.")
    ] = False,
    link: LinkName = None,
    real_time: RealTime = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure the student on the test images; with --server, the teacher too, which costs queries.

    Example: mekd-edge evaluate --run runs/mine --server http://127.0.0.1:8000
    """
    if test and server and not send_test_images:
        console.print(
            "The teacher is not asked: it would be sent the images of --test. --send-test-images allows it."
        )
        server = None
    behind = the_link(link, real_time=real_time)
    prepare_torch()
    from edge.evaluation import evaluate as measure
    from edge.report.summary import evaluation_table
    from edge.run_folder import RunFolder
    from edge.stopping import stop_on_signal
    from edge.training import Watcher

    with (
        stop_on_signal() as stop,
        the_teacher(server, stop, behind, real_time=real_time) if server else nullcontext() as teacher,
    ):
        measured = measure(RunFolder(run), teacher, data_root, Watcher(should_stop=stop), behind, test)
    show(measured, evaluation_table(measured), as_json=json, quiet=quiet)
