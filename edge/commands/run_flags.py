"""The flags that choose what a run computes, declared once for every command that plans or makes one."""

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from edge.commands import completion
from edge.commands.flag_groups import with_flags
from edge.commands.options import SOURCE, STUDENT, TEACHER, DataRoot, data_source, given
from edge.commands.student_flags import seed_flag, student_flag, weight_flag
from edge.config import Config, resolve
from edge.presets import PRESETS, named


class Choice(NamedTuple):
    """What the flags chose."""

    config: Config
    data_root: Path | None
    """Folder of the datasets that live in files, or of the device's own images."""


def choose(
    data: Annotated[
        str | None,
        typer.Option(
            help="Unlabelled local images: digits, mnist, cifar10, ... or a folder of PNG and JPEG files.",
            show_default="digits",
            metavar="NAME|FOLDER",
            rich_help_panel=SOURCE,
            autocompletion=completion.datasets,
        ),
    ] = None,
    data_root: DataRoot = None,
    classes: Annotated[
        int | None,
        typer.Option(
            help="Classes of the teacher, for a folder of images where the server does not say.",
            metavar="NUMBER",
            min=2,
            rich_help_panel=SOURCE,
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            help="Queries of all stages together; 1 image is 1 query.",
            show_default="digits: 2000; others: 10000",
            metavar="QUERIES",
            min=2,
            rich_help_panel=TEACHER,
        ),
    ] = None,
    response: Annotated[
        Literal["soft", "top1"] | None,
        typer.Option(
            help="What to ask for: logits or probabilities, or the class alone.",
            show_default="soft",
            rich_help_panel=TEACHER,
        ),
    ] = None,
    student: Annotated[str | None, student_flag("resnet8")] = None,
    seed: Annotated[int | None, seed_flag("0")] = None,
    image_weight: Annotated[float | None, weight_flag("the image term", "0")] = None,
    kl_weight: Annotated[float | None, weight_flag("the KL term", "1")] = None,
    consistency_weight: Annotated[
        float | None, weight_flag("the term that learns from the private images, on the device", "1")
    ] = None,
    im_weight: Annotated[
        float | None, weight_flag("the IM term of step 1, which has queries of its own", "0")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help=f"A method with all its settings: {', '.join(PRESETS)}; the file and the flags count more.",
            show_default="lq",
            metavar="NAME",
            rich_help_panel=STUDENT,
            autocompletion=completion.presets,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with any field of the config; flags count more.",
            metavar="FILE",
            rich_help_panel=STUDENT,
        ),
    ] = None,
) -> Choice:
    """The config that the flags describe, with the dataset's recipe, the preset and the file below them.

    Raises:
        InvalidConfig: names the field that is wrong.
    """
    dataset, root = data_source(data, data_root)
    flags = {
        "dataset": dataset,
        "classes": classes,
        "budget": budget,
        "response": response,
        "student": student,
        "seed": seed,
        "deprivatization": {"im_weight": im_weight},
        "distillation": {
            "image_weight": image_weight,
            "kl_weight": kl_weight,
            "consistency_weight": consistency_weight,
        },
    }
    return Choice(resolve(config, given(flags), named(preset) if preset else None), root)


with_run_flags = with_flags("choice", choose)
