"""`mekd-edge distill`."""

from typing import Annotated

import typer
from rich.markup import escape

from edge.commands.options import (
    TEACHER,
    Json,
    LinkName,
    Out,
    Quiet,
    RealTime,
    Server,
    console,
    prepare_torch,
    show,
    the_link,
    the_teacher,
)
from edge.commands.run_flags import Choice, with_run_flags
from edge.commands.teacher_flags import Told, with_teacher_flags


@with_run_flags
@with_teacher_flags
def distill(
    choice: Choice,
    server: Server,
    told: Told,
    link: LinkName = None,
    real_time: RealTime = False,
    send_private_images: Annotated[
        bool,
        typer.Option(
            "--send-private-images",
            help="Let the images of a folder leave this device, to the server, as some rivals want it.",
            rich_help_panel=TEACHER,
        ),
    ] = False,
    *,
    out: Out,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Distil the teacher into a student: step 1 deprivatization, step 2 distillation.

    Ctrl-C stops; the same command goes on, and pays for nothing twice. The key comes from MEKD_API_KEY.

    Example: mekd-edge distill --server http://127.0.0.1:8000 --data digits --budget 2000 --out runs/mine
    """
    config, data_root = choice
    behind = the_link(link, real_time=real_time)
    prepare_torch()
    from edge.progress import Display
    from edge.report.summary import run_table
    from edge.run import run
    from edge.stopping import stop_on_signal

    with (
        stop_on_signal() as stop,
        the_teacher(server, told, stop, behind, seed=config.seed, real_time=real_time) as teacher,
        Display(console, config.budget, quiet=quiet) as display,
    ):
        watcher = display.watcher(stop)
        results = run(
            config,
            teacher,
            out,
            data_root,
            watcher,
            behind,
            real_time=real_time,
            timing=True,
            send_private=send_private_images,
        )
    show(results, run_table(results), as_json=json, quiet=quiet)
    if not quiet and not json:
        console.print(f"Student written to {escape(str(out / 'student.safetensors'))}.", soft_wrap=True)
