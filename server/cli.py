"""`mekd-server`: train a teacher, serve it, manage the keys of those who may ask it, and keep the books.

torch and the web framework are imported by the commands that need them, so that the others answer at once.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from server import keys_cli, ledger_cli
from shared import command_line, compute

app = typer.Typer(
    help="The cloud side of MEKD: a teacher behind a meter.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_cli.app, name="keys")
app.add_typer(ledger_cli.app, name="ledger")
console = Console(stderr=True)


@app.command()
def train(
    data: Annotated[
        str, typer.Option(help="Dataset: digits, mnist, cifar10 and others; see server/README.md.")
    ] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder of datasets that live in files.")] = None,
    architecture: Annotated[
        str, typer.Option(help="resnet20, vgg13, torchvision/resnet50 and others; see server/README.md.")
    ] = "resnet20",
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: by the size of the dataset.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order, shifts and flips.")] = 0,
    out: Annotated[Path, typer.Option(help="Checkpoint to write.")] = Path("data/teacher.safetensors"),
    if_missing: Annotated[
        bool, typer.Option("--if-missing", help="Do nothing where the checkpoint is there.")
    ] = False,
) -> None:
    """Train a teacher on the cloud's part of a dataset.

    After an interruption the same command goes on, from a state that is kept beside the checkpoint until then.
    """
    if if_missing and out.exists():
        console.print(f"{escape(str(out))} is there already; nothing was trained.", soft_wrap=True)
        return
    compute.yield_when_idle()
    from rich.progress import Progress

    from server import train_teacher
    from server.teacher_recipe import recipe_of
    from shared import checkpoints, datasets

    compute.keep_freed_memory()
    compute.use_threads()
    dataset = datasets.load(data, data_root)
    epochs = epochs or recipe_of(dataset).epochs
    state = out.with_name(f"{out.name}.unfinished")
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"{architecture} on {data}", total=train_teacher.steps_of(dataset, epochs))
        model = train_teacher.train(
            dataset,
            architecture,
            epochs=epochs,
            seed=seed,
            on_step=lambda done, _: progress.update(bar, completed=done),
            state=state,
        )
    accuracy = train_teacher.test_accuracy(model, dataset.test)
    card = checkpoints.Card(
        role="teacher",
        architecture=architecture,
        dataset=data,
        image_shape=dataset.image_shape,
        classes=dataset.classes,
        seed=seed,
        facts={"test_accuracy": accuracy},
    )
    checkpoints.save(out, model, card)
    state.unlink(missing_ok=True)
    measured = f"Test accuracy {accuracy:.2%} ({len(dataset.test.labels)} images)."
    console.print(f"{measured} Teacher written to {escape(str(out))}.", soft_wrap=True)


@app.command()
def serve(
    teacher: Annotated[Path | None, typer.Option(help="Checkpoint of the teacher.")] = None,
    ledger: Annotated[str | None, typer.Option(help="Path, sqlite:/// or postgresql:// URL of the ledger.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of the model.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of the metrics; 0 takes a free one.")] = None,
    log_format: Annotated[str | None, typer.Option(help="Form of the log: json or text.")] = None,
    parent: Annotated[
        int | None, typer.Option(help="Process that starts the server for itself: when it ends, so does the server.")
    ] = None,
) -> None:
    """Serve a teacher until SIGTERM or Ctrl-C; prints the URL once it accepts connections.

    Every setting is also an environment variable, MEKD_SERVER_TEACHER and so on; flags go before them.
    """
    from server.settings import load_settings

    settings = load_settings(
        teacher=teacher,
        ledger=ledger,
        host=host,
        port=port,
        threads=threads,
        metrics_port=metrics_port,
        log_format=log_format,
    )
    compute.yield_when_idle()
    from server.serving import end_with
    from server.serving import serve as serve_until_stopped

    if parent is not None:
        end_with(parent)
    serve_until_stopped(settings, announce=lambda url: print(url, flush=True))  # noqa: T201 - for scripts to read


def main() -> None:
    """Run the program."""
    command_line.run(app)
