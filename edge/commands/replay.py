"""`mekd-edge replay`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from edge.commands.options import (
    SOURCE,
    STUDENT,
    Json,
    Out,
    Quiet,
    RunData,
    console,
    given,
    prepare_torch,
    show,
)
from edge.commands.student_flags import seed_flag, student_flag, weight_flag

THE_RUNS = "the run's"


def replay(
    *,
    source: Annotated[
        Path,
        typer.Option("--from", help="Run folder or transfer file.", metavar="RUN|FILE", rich_help_panel=SOURCE),
    ],
    budget: Annotated[
        int | None,
        typer.Option(
            help="Learn from the first so many pairs, in the order of asking.",
            show_default="all",
            metavar="PAIRS",
            min=2,
            rich_help_panel=SOURCE,
        ),
    ] = None,
    generator: Annotated[
        Path | None,
        typer.Option(
            help="File of the generator for the image term.",
            show_default=THE_RUNS,
            metavar="FILE",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    response: Annotated[
        Literal["soft", "top1"] | None,
        typer.Option(
            help="top1 learns from the classes of soft answers: what another policy would have sold.",
            show_default=THE_RUNS,
            rich_help_panel=SOURCE,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Another method that asks the same questions, for instance dkd of a run of kd; of a file, any.",
            show_default=THE_RUNS,
            metavar="NAME",
            rich_help_panel=SOURCE,
        ),
    ] = None,
    data: RunData = None,
    student: Annotated[str | None, student_flag(THE_RUNS)] = None,
    seed: Annotated[int | None, seed_flag(THE_RUNS)] = None,
    image_weight: Annotated[float | None, weight_flag("the image term", THE_RUNS)] = None,
    kl_weight: Annotated[float | None, weight_flag("the KL term", THE_RUNS)] = None,
    consistency_weight: Annotated[
        float | None, weight_flag("the term that learns from the private images, on the device", THE_RUNS)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with fields of the config that step 2 knows; flags count more.",
            metavar="FILE",
            rich_help_panel=STUDENT,
        ),
    ] = None,
    out: Out,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a student from answers that are paid already: step 2 alone, without a server, a key or a query.

    With nothing changed it is the run's own student again, on the CPU bit for bit. Ctrl-C stops; the same command
    goes on.

    Example: mekd-edge replay --from runs/mine --budget 500 --seed 1 --out runs/mine-500
    """
    prepare_torch()
    from edge.progress import Display
    from edge.replay import changed, open_source
    from edge.replay import replay as train
    from edge.report.summary import run_table
    from edge.stopping import stop_on_signal

    flags = {
        "budget": budget,
        "response": response,
        "method": method,
        "student": student,
        "seed": seed,
        "distillation": {
            "image_weight": image_weight,
            "kl_weight": kl_weight,
            "consistency_weight": consistency_weight,
        },
    }
    opened, resolved = changed(open_source(source, generator), config, given(flags))
    with stop_on_signal() as stop, Display(console, 0, quiet=quiet) as display:
        results = train(opened, resolved, out, display.watcher(stop), data)
    show(results, run_table(results), as_json=json, quiet=quiet)
    if not quiet and not json:
        console.print(f"Student written to {escape(str(out / 'student.safetensors'))}.", soft_wrap=True)
