"""`mekd-edge plan`."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from edge.commands.options import (
    OUTPUT,
    TEACHER,
    Json,
    LinkName,
    Server,
    console,
    prepare_torch,
    show,
    the_link,
    the_teacher,
)
from edge.commands.run_flags import Choice, with_run_flags
from edge.commands.teacher_flags import Told, with_teacher_flags
from shared.command_line import described
from shared.errors import BudgetTooSmall

if TYPE_CHECKING:
    from edge.config import Config
    from shared.protocol import Usage


@with_run_flags
@with_teacher_flags
def plan(
    choice: Choice,
    server: Server,
    told: Told,
    link: LinkName = None,
    price_per_1000: Annotated[
        float | None,
        typer.Option(
            "--price-per-1000",
            help="Price of 1,000 queries, in any currency.",
            metavar="PRICE",
            min=0,
            rich_help_panel=TEACHER,
        ),
    ] = None,
    timing: Annotated[
        bool,
        typer.Option(
            "--timing/--no-timing", help="Time some steps of training on this machine.", rich_help_panel=OUTPUT
        ),
    ] = True,
    json: Json = False,
) -> None:
    """Say what a run would take: queries, bytes, minutes, cost. Nothing is paid.

    It ends with exit code 5 where the key cannot pay for the run.

    Example: mekd-edge plan --server http://127.0.0.1:8000 --data digits --link 3g --price-per-1000 1.5
    """
    config, data_root = choice
    chosen_link = the_link(link, real_time=False)
    prepare_torch()
    from edge.images.local_images import local_images
    from edge.planning.plan import make_plan
    from edge.planning.prediction import Terms, held_out, predict
    from edge.planning.step_timing import time_steps
    from edge.report.prediction_table import prediction_table, remarks
    from edge.stopping import stop_on_signal

    with stop_on_signal() as stop, the_teacher(server, told, stop) as teacher:
        metadata, usage = teacher.metadata(), teacher.usage()
        local = local_images(config, data_root, metadata)
        planned = make_plan(config, metadata, usage, local)
        times = time_steps(config, local, planned.output, held_out(config, local)) if timing else None
        terms = Terms(teacher, metadata, usage, chosen_link, real_time=True, price_per_1000=price_per_1000)
        prediction = predict(config, planned, local, terms, times)
    results = prediction.model_dump() | {"key": usage.model_dump() if usage else None}
    refusal = _refusal(config, usage)
    if refusal and json:  # one object tells what was found and what is wrong
        results |= described(refusal.code, str(refusal), refusal.exit_code)
    show(results, prediction_table(prediction), as_json=json)
    if json:
        if refusal:
            console.print(f"[red]Error:[/red] {escape(str(refusal))}", highlight=False, soft_wrap=True)
        raise typer.Exit(refusal.exit_code if refusal else 0)
    for remark in remarks(prediction, usage):
        console.print(remark, markup=False, soft_wrap=True)
    if refusal:
        raise refusal


def _refusal(config: "Config", usage: "Usage | None") -> BudgetTooSmall | None:
    """What the key would say to this budget, if it cannot pay."""
    from edge.planning.plan import check_budget

    try:
        check_budget(config, usage, 0, started=False)
    except BudgetTooSmall as error:
        return error
    return None
