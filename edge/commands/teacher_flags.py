"""The flags that tell of another teacher than `mekd-server` has: what it is called, how it is asked."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from edge.commands.flag_groups import with_flags

if TYPE_CHECKING:
    from edge.asking.served_model import ServedModel

PANEL = "Teacher of another server"


class Told(NamedTuple):
    """What a person tells of the teacher."""

    model: "ServedModel"
    adapter: str | None
    """`package.module:factory`; None speaks the Open Inference Protocol."""


def tell(
    model: Annotated[
        str, typer.Option(help="Name of the model on the server.", metavar="NAME", rich_help_panel=PANEL)
    ] = "teacher",
    teacher_output: Annotated[
        str | None,
        typer.Option(
            help="What an output of another name means: logits, probabilities or label.",
            metavar="NAME=MEANING",
            rich_help_panel=PANEL,
        ),
    ] = None,
    pixel_range: Annotated[
        str | None,
        typer.Option(
            help="What pixels 0 and 255 are to a model of real numbers: 0,1 or -1,1.",
            metavar="LOW,HIGH",
            rich_help_panel=PANEL,
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="Ask over another API than the Open Inference Protocol, see edge/adapters.",
            metavar="MODULE:FACTORY",
            rich_help_panel=PANEL,
        ),
    ] = None,
) -> Told:
    """What the flags tell.

    Raises:
        InvalidConfig: names the flag that cannot be understood.
    """
    from edge.asking.served_model import ServedModel

    return Told(ServedModel.told(model, teacher_output, pixel_range), adapter)


with_teacher_flags = with_flags("told", tell)
