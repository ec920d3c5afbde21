"""`mekd-edge evaluate`."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.commands.options import (
    ADAPTATION,
    Json,
    LinkName,
    MaybeServer,
    NewImages,
    PriorStrength,
    Quiet,
    RealTime,
    RunData,
    RunPath,
    console,
    given,
    prepare_torch,
    show,
    the_link,
    the_teacher,
)
from edge.commands.teacher_flags import Told, with_teacher_flags
from shared.errors import InvalidConfig


@with_teacher_flags
def evaluate(
    run: RunPath,
    told: Told,
    server: MaybeServer = None,
    data: RunData = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Own labelled images instead of the dataset's: a folder, a subfolder per class."),
    ] = None,
    send_test_images: Annotated[
        bool, typer.Option("--send-test-images", help="Let the images of --test leave this device, to the server.")
    ] = False,
    adapt: Annotated[
        Literal["none", "private", "test"],
        typer.Option(
            help="Measure the student adapted too, without a query: to private images, or to each batch of test "
            "images that it classifies.",
            rich_help_panel=ADAPTATION,
        ),
    ] = "none",
    images: NewImages = None,
    prior_strength: PriorStrength = None,
    link: LinkName = None,
    real_time: RealTime = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Measure the student on the test images; with --server, the teacher too, which costs queries.

    Example: mekd-edge evaluate --run runs/mine --server http://127.0.0.1:8000
    """
    if test and server and not send_test_images:
        server = None  # it may stand in the environment, which is no leave to send private images
        if not quiet:
            console.print("The teacher is not asked: it would be sent your images. --send-test-images allows it.")
    behind = the_link(link, real_time=real_time)
    prepare_torch()
    from edge.adapted_student import Adaptation
    from edge.evaluation import evaluate as measure
    from edge.report.summary import evaluation_table
    from edge.run_folder import RunFolder
    from edge.stopping import stop_on_signal
    from edge.training import Watcher

    flags = given({"prior_strength": prior_strength, "images": images})
    if flags and adapt == "none":
        raise InvalidConfig("--images and --prior-strength say how to adapt. Add --adapt private or --adapt test.")
    adaptation = None if adapt == "none" else Adaptation(adapt, **flags)
    with (
        stop_on_signal() as stop,
        the_teacher(server, told, stop, behind, real_time=real_time) if server else nullcontext() as teacher,
    ):
        measured = measure(RunFolder(run), teacher, data, Watcher(should_stop=stop), behind, test, adaptation)
    show(measured, evaluation_table(measured), as_json=json, quiet=quiet)
