"""`mekd-edge sweep`."""

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from edge.commands import completion
from edge.commands.options import (
    OUTPUT,
    TEACHER,
    DataRoot,
    LinkName,
    Quiet,
    api_key,
    console,
    given,
    prepare_torch,
    the_link,
)
from shared.errors import InvalidConfig

GRID, ENGINE = "What to compare", "What runs it"
Names = list[str] | None
Numbers = list[int] | None


def sweep(
    *,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of the sweep; flags count more.", metavar="FILE", rich_help_panel=GRID),
    ] = None,
    method: Annotated[
        Names,
        typer.Option(
            help="A preset, or a variant of the file.",
            metavar="NAME",
            rich_help_panel=GRID,
            autocompletion=completion.presets,
        ),
    ] = None,
    budget: Annotated[
        Numbers, typer.Option(help="Queries of a run.", metavar="QUERIES", rich_help_panel=GRID)
    ] = None,
    response: Annotated[Names, typer.Option(help="soft, top1.", metavar="NAME", rich_help_panel=GRID)] = None,
    dataset: Annotated[Names, typer.Option(help="A named dataset.", metavar="NAME", rich_help_panel=GRID)] = None,
    student: Annotated[
        Names,
        typer.Option(help="Architecture.", metavar="NAME", rich_help_panel=GRID, autocompletion=completion.students),
    ] = None,
    seed: Annotated[
        Numbers, typer.Option(help="Decides every random draw.", metavar="NUMBER", rich_help_panel=GRID)
    ] = None,
    teacher: Annotated[
        Names,
        typer.Option(
            help="Checkpoint of a dataset's teacher, served here while the sweep runs.",
            metavar="DATASET=FILE",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            help="Where the teacher is, in place of --teacher; all runs share the key.",
            metavar="URL",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    link: LinkName = None,
    data_root: DataRoot = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Processes of this machine, or a Ray cluster.", rich_help_panel=ENGINE),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            help="Runs at once, of the local engine.",
            show_default="one for each core",
            metavar="NUMBER",
            min=1,
            rich_help_panel=ENGINE,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a Ray cluster that runs already.",
            show_default="a cluster of its own",
            metavar="ADDRESS",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be paid, and do nothing.", rich_help_panel=OUTPUT)
    ] = False,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder of the sweep, made where there is none; started again with the same one, it goes on.",
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
        ),
    ],
    quiet: Quiet = False,
) -> None:
    """Compare methods: every method with every budget, response, dataset, student and seed.

    What one run has paid for serves all others that ask the same. A cell that fails stops no other; Ctrl-C stops, the
    same command goes on, and tries failed cells again. The rows are in rows.jsonl and rows.parquet.

    Example: mekd-edge sweep --method lq --method kd --budget 250 --teacher digits=teacher.safetensors --out runs/s
    """
    prepare_torch()
    from pydantic import SecretStr

    from edge.stopping import stop_on_signal
    from edge.sweep.choosing import choose_engine
    from edge.sweep.display import SweepDisplay
    from edge.sweep.grid import read_sweep
    from edge.sweep.results import Rows
    from edge.sweep.sweep import check_keys, plan_sweep, run_sweep, served
    from shared.datasets.files import DEFAULT_ROOT

    axes = {
        "methods": method,
        "budgets": budget,
        "responses": response,
        "datasets": dataset,
        "students": student,
        "seeds": seed,
        "teachers": dict(map(_dataset_and_file, teacher or [])) or None,
    }
    if address is not None and (teacher or not server):
        raise InvalidConfig("Machines of a cluster do not see a teacher that is served here. Use --server URL.")
    out, data_root = out.resolve(), (data_root or DEFAULT_ROOT).resolve()  # workers may have another working folder
    wanted = read_sweep(config, given({name: value or None for name, value in axes.items()}))
    Rows(out).check_parquet()
    plan = plan_sweep(wanted, out, data_root)
    if not quiet:
        for reason, students in Counter(plan.refused.values()).items():
            console.print(f"[yellow]left out,[/yellow] {students} students: {escape(reason)}", soft_wrap=True)
        console.print(
            f"{len(plan.jobs)} students, {len(plan.jobs) - len(plan.open)} of them made already. {plan.paid:,} "
            f"queries are paid and at most {plan.queries_left:,} left to pay; each run for itself would ask "
            f"{plan.queries_alone:,}.",
            soft_wrap=True,
        )
    if dry_run:
        return
    evaluation = os.environ.get("MEKD_EVALUATION_KEY")
    keys = {
        "key": api_key() if server else None,
        "evaluation_key": SecretStr(evaluation.strip()) if evaluation else None,
    }
    runner, at_once = choose_engine(engine, workers, address)
    with (
        stop_on_signal() as stop,
        served(wanted, out, data_root, server=server, link=the_link(link, real_time=False), **keys) as place,
        SweepDisplay(console, len(plan.open), at_once, quiet=quiet) as display,
    ):
        check_keys(plan, place)
        failed = run_sweep(wanted, plan, place, runner, display, stop)
    if not quiet:
        console.print(f"Rows written to {escape(str(Rows(out).path))}.", soft_wrap=True)
    if failed:
        console.print(f"{failed} students could not be made; the same command tries them again.", soft_wrap=True)
        raise typer.Exit(1)


def _dataset_and_file(text: str) -> tuple[str, Path]:
    dataset, equals, file = text.partition("=")
    if not equals:
        raise InvalidConfig(f"--teacher {text} names no dataset. Write it as --teacher digits=FILE.")
    return dataset, Path(file)
