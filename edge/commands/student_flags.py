"""The flags that choose a student and its losses, declared once for a run and for a replay of one.

Each returns a typer option for an `Annotated`; `default` is what the help shows.
"""

from typing import Any

import typer

from edge.commands import completion
from edge.commands.options import STUDENT


def student_flag(default: str) -> Any:
    """`--student`."""
    return typer.Option(
        help="Architecture of the student: resnet8, resnet20, vgg11, mobilenetv2, shufflenetv2, ...",
        show_default=default,
        metavar="NAME",
        rich_help_panel=STUDENT,
        autocompletion=completion.students,
    )


def seed_flag(default: str) -> Any:
    """`--seed`."""
    return typer.Option(
        help="Decides every random draw.", show_default=default, metavar="NUMBER", min=0, rich_help_panel=STUDENT
    )


def weight_flag(term: str, default: str) -> Any:
    """`--image-weight` and the like."""
    return typer.Option(
        help=f"Weight of {term}; 0 switches it off.",
        show_default=default,
        metavar="WEIGHT",
        min=0,
        rich_help_panel=STUDENT,
    )
