"""`mekd-edge query`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.commands.options import Json, Server, console, show, the_teacher
from edge.commands.teacher_flags import Told, with_teacher_flags


@with_teacher_flags
def query(
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files; each is one query.")],
    server: Server,
    told: Told,
    resize: Annotated[bool, typer.Option("--resize", help="Crop and scale images to the teacher's size.")] = False,
    output: Annotated[
        Literal["best", "logits", "probabilities", "label"],
        typer.Option(help="What to ask for; best is the first of these that the key may see."),
    ] = "best",
    json: Json = False,
) -> None:
    """Ask the teacher about image files. An image that was asked about before costs nothing.

    Example: mekd-edge query digit.png --server http://127.0.0.1:8000 --resize
    """
    from edge.asking.query import ask_about
    from edge.stopping import stop_on_signal

    with stop_on_signal() as stop, the_teacher(server, told, stop) as teacher:
        answers, usage = ask_about(images, teacher, None if output == "best" else output, resize=resize)
    named = [{"image": str(path)} | answer for path, answer in zip(images, answers, strict=True)]
    if json:
        show({"answers": named, "usage": usage.model_dump() if usage else None}, "", as_json=True)
        return
    Console().print(_table(named))
    if usage:
        console.print(f"{usage.remaining} of {usage.budget} queries left.")


def _table(answers: Sequence[Mapping[str, Any]]) -> Table:
    """One row per image; one column per value of a list, numbered."""
    table = Table(*(column for name, value in answers[0].items() for column in _columns(name, value)))
    for answer in answers:
        table.add_row(*(cell for value in answer.values() for cell in _cells(value)))
    return table


def _columns(name: str, value: Any) -> list[str]:
    singular = {"logits": "logit", "probabilities": "probability"}
    return [f"{singular[name]} {k}" for k in range(len(value))] if isinstance(value, list) else [name]


def _cells(value: Any) -> list[str]:
    return [f"{number:.3f}" for number in value] if isinstance(value, list) else [escape(str(value))]
