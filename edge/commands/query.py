"""`mekd-edge query`."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.commands.options import Server, console, the_teacher


def query(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files; each is one query.")],
    server: Server,
    resize: Annotated[bool, typer.Option("--resize", help="Scale images to the teacher's size.")] = False,
    output: Annotated[
        Literal["best", "logits", "probabilities", "label"], typer.Option(help="What to ask for.")
    ] = "best",
) -> None:
    """Ask the teacher about image files. An image that was asked about before costs nothing."""
    from edge.query import ask_about
    from edge.stopping import stop_on_signal

    with stop_on_signal() as stop, the_teacher(server, stop) as teacher:
        answers, usage = ask_about(images, teacher, None if output == "best" else output, resize=resize)
    table = Table("image", *answers[0])
    for path, answer in zip(images, answers, strict=True):
        table.add_row(escape(str(path)), *answer.values())
    Console().print(table)
    if usage:
        console.print(f"{usage.remaining} of {usage.budget} queries left.")
