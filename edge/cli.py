"""`mekd-edge`: distil a teacher that can only be called, and look at what came out.

The API key comes from the environment, MEKD_API_KEY or a file named by MEKD_API_KEY_FILE, never from a flag: flags
are seen by everybody on the machine. torch is imported by the commands that need it.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared import command_line, compute
from shared.errors import InvalidConfig

app = typer.Typer(
    help="The edge side of MEKD: a small student from a teacher behind a metered API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True)

Server = Annotated[
    str, typer.Option(envvar="MEKD_SERVER_URL", help="Where the teacher is, e.g. http://127.0.0.1:8000")
]
DataRoot = Annotated[Path | None, typer.Option(help="Folder of datasets that live in files.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no table at the end.")]
RunPath = Annotated[Path, typer.Option("--run", help="Folder of a run.")]


@app.command()
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
    quiet: Quiet = False,
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
    resolved = resolve(config, given(flags))
    _prepare_torch()
    from edge.client import TeacherClient
    from edge.progress import Display
    from edge.run import run
    from edge.stopping import stop_on_signal

    with (
        stop_on_signal() as stop,
        TeacherClient(server, api_key(), sleep=stop.sleep) as client,
        Display(console, resolved.budget) as display,
    ):
        results = run(resolved, client, out, data_root, display.watcher(stop))
    if not quiet:
        from edge.report.summary import run_table

        console.print(run_table(results))
        console.print(f"Student written to {escape(str(out / 'student.safetensors'))}.", soft_wrap=True)


@app.command()
def evaluate(
    run: RunPath,
    server: Annotated[
        str | None, typer.Option(envvar="MEKD_SERVER_URL", help="Compare with this teacher; needs a key of its own.")
    ] = None,
    data_root: DataRoot = None,
    quiet: Quiet = False,
) -> None:
    """Measure the student on the test images; with --server, the teacher too, which costs queries."""
    _prepare_torch()
    from contextlib import nullcontext

    from edge.client import TeacherClient
    from edge.evaluation import evaluate as measure
    from edge.report.summary import evaluation_table
    from edge.run_folder import RunFolder
    from edge.stopping import stop_on_signal
    from edge.training import Watcher

    with (
        stop_on_signal() as stop,
        TeacherClient(server, api_key(), sleep=stop.sleep) if server else nullcontext() as client,
    ):
        measured = measure(RunFolder(run), client, data_root, Watcher(should_stop=stop))
    if not quiet:
        console.print(evaluation_table(measured))


@app.command()
def report(run: RunPath, data_root: DataRoot = None) -> None:
    """Write report.html: curves, real and generated images, queries, bytes, seconds."""
    _prepare_torch()
    from edge.report.page import write_report
    from edge.run_folder import RunFolder

    console.print(f"Report written to {escape(str(write_report(RunFolder(run), data_root)))}.", soft_wrap=True)


@app.command()
def query(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files; each is one query.")],
    server: Server,
    resize: Annotated[bool, typer.Option("--resize", help="Scale images to the teacher's size.")] = False,
    output: Annotated[
        Literal["best", "logits", "probabilities", "label"], typer.Option(help="What to ask for.")
    ] = "best",
) -> None:
    """Ask the teacher about image files. An image that was asked about before costs nothing."""
    from edge.client import TeacherClient
    from edge.query import ask_about

    with TeacherClient(server, api_key()) as client:
        answers, usage = ask_about(images, client, None if output == "best" else output, resize=resize)
    table = Table("image", *answers[0])
    for path, answer in zip(images, answers, strict=True):
        table.add_row(escape(str(path)), *answer.values())
    Console().print(table)
    if usage:
        console.print(f"{usage.remaining} of {usage.budget} queries left.")


def api_key() -> Any:
    """The key from the environment, as a secret that does not print.

    Raises:
        InvalidConfig: no key, or its file cannot be read.
    """
    from pydantic import SecretStr

    if key := os.environ.get("MEKD_API_KEY"):
        return SecretStr(key.strip())
    if file := os.environ.get("MEKD_API_KEY_FILE"):
        try:
            return SecretStr(Path(file).read_text().strip())
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise InvalidConfig(f"MEKD_API_KEY_FILE names {file}, which cannot be read: {reason}.") from None
    raise InvalidConfig("No API key. Set MEKD_API_KEY, or MEKD_API_KEY_FILE to the name of a file that holds it.")


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Only the flags that were given, sections included."""
    nested = {name: given(value) if isinstance(value, dict) else value for name, value in flags.items()}
    return {name: value for name, value in nested.items() if value not in (None, {})}


def _prepare_torch() -> None:
    compute.yield_when_idle()
    compute.use_threads()


def main() -> None:
    """Run the program."""
    command_line.run(app)
