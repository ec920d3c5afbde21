"""Questions about image files, answered for people."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.image_files import read_image
from edge.journal import digests
from edge.teacher import Teacher
from shared.errors import ForeignAnswer, OutputNotAllowed
from shared.protocol import IMAGES, LABEL, LOGITS, PROBABILITIES, Usage

ONE_OF = {LOGITS: "logit", PROBABILITIES: "probability"}


def ask_about(
    paths: Sequence[Path], teacher: Teacher, output: str | None, *, resize: bool
) -> tuple[list[dict[str, str]], Usage | None]:
    """One row of named values per file, and the key's state afterwards; `output` None asks for the richest.

    All files are read before the first is asked about. The idempotency key follows from the image and the output, so
    the same question is paid for once.

    Raises:
        InvalidImage: a file is unreadable or of the wrong size.
        OutputNotAllowed: the key does not see `output`.
    """
    metadata = teacher.metadata()
    shape = next((tensor.shape[1:] for tensor in metadata.inputs if tensor.name == IMAGES), [])
    if len(shape) != 3:
        raise ForeignAnswer(f"The model '{metadata.name}' has no input '{IMAGES}' [N, C, H, W].")
    shown = [tensor.name for tensor in metadata.outputs]
    if output is None:
        output = metadata.richest_output()
    elif output not in shown:
        raise OutputNotAllowed(
            f"This key sees {', '.join(shown)}, not {output}. Ask the operator for another policy."
        )
    channels, height, width = shape
    images = [read_image(path, (channels, height, width), resize=resize) for path in paths]
    rows = []
    for image in images:
        name = f"{metadata.name}/{output}/{digests(image[None])[0].hex()}"
        values = teacher.ask(image[None], output, str(uuid.uuid5(uuid.NAMESPACE_URL, name))).values[0]
        label = int(values if output == LABEL else values.argmax())
        row = {"class": str(label)}
        if output != LABEL:
            row |= {f"{ONE_OF[output]} {k}": f"{value:.3f}" for k, value in enumerate(np.asarray(values))}
        rows.append(row)
    return rows, teacher.usage()
