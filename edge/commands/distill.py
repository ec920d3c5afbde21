"""`mekd-edge distill`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from edge.commands.options import (
    DataRoot,
    Json,
    LinkName,
    Quiet,
    RealTime,
    Server,
    console,
    given,
    prepare_torch,
    show,
    the_link,
    the_teacher,
)


def distill(
    server: Server,
    out: Annotated[Path, typer.Option(help="Folder of the run; a second start with the same one goes on.")],
    data: Annotated[str | None, typer.Option(help="Unlabelled local images: digits, mnist.")] = None,
    data_root: DataRoot = None,
    budget: Annotated[int | None, typer.Option(help="Queries of all stages together.")] = None,
    response: Annotated[str | None, typer.Option(help="soft (logits or probabilities) or top1.")] = None,
    student: Annotated[str | None, typer.Option(help="Architecture: resnet8, resnet20, ...")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every random draw.")] = None,
    image_weight: Annotated[float | None, typer.Option(help="Weight of the image term; 0 switches it off.")] = None,
    kl_weight: Annotated[float | None, typer.Option(help="Weight of the KL term; 0 switches it off.")] = None,
    im_weight: Annotated[float | None, typer.Option(help="Weight of the IM term; 0 switches it off.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any config field; flags go before it.")] = None,
    link: LinkName = None,
    real_time: RealTime = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Distil the teacher: step 1 deprivatization, step 2 distillation. Ctrl-C stops; the same command goes on."""
    from edge.config import resolve

    flags = {
        "dataset": data,
        "budget": budget,
        "response": response,
        "student": student,
        "seed": seed,
        "deprivatization": {"im_weight": im_weight},
        "distillation": {"image_weight": image_weight, "kl_weight": kl_weight},
    }
    resolved, behind = resolve(config, given(flags)), the_link(link, real_time=real_time)
    prepare_torch()
    from edge.progress import Display
    from edge.report.summary import run_table
    from edge.run import run
    from edge.stopping import stop_on_signal

    with (
        stop_on_signal() as stop,
        the_teacher(server, stop, behind, seed=resolved.seed, real_time=real_time) as teacher,
        Display(console, resolved.budget) as display,
    ):
        results = run(resolved, teacher, out, data_root, display.watcher(stop), behind)
    show(results, run_table(results), as_json=json, quiet=quiet)
    if not quiet:
        console.print(f"Student written to {escape(str(out / 'student.safetensors'))}.", soft_wrap=True)
