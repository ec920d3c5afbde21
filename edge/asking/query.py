"""Questions about image files, answered for people."""

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.asking.same_teacher import identity
from edge.asking.teacher import Teacher
from edge.images.image_files import read_image, taken_shape
from edge.transfer_set.journal import digests
from shared.errors import OutputNotAllowed
from shared.protocol import LABEL, Usage


def ask_about(
    paths: Sequence[Path], teacher: Teacher, output: str | None, *, resize: bool
) -> tuple[list[dict[str, Any]], Usage | None]:
    """Per file its class and, of richer outputs, the values; and the key's state afterwards.

    `output` None asks for the richest. All files are read before the first is asked about. The idempotency key
    follows from the image and the output, so the same question is paid for once.

    Raises:
        InvalidImage: a file is unreadable or of the wrong size.
        OutputNotAllowed: the key does not see `output`.
    """
    metadata = teacher.metadata()
    shape = taken_shape(metadata)
    shown = [tensor.name for tensor in metadata.outputs]
    if output is None:
        output = metadata.richest_output()
    elif output not in shown:
        raise OutputNotAllowed(
            f"This key sees {', '.join(shown)}, not {output}. Ask the operator for another policy."
        )
    images = [read_image(path, shape, resize=resize) for path in paths]
    rows = []
    for image in images:
        name = f"{identity(metadata)}/{output}/{digests(image[None])[0].hex()}"
        values = teacher.ask(image[None], output, str(uuid.uuid5(uuid.NAMESPACE_URL, name))).values[0]
        row: dict[str, Any] = {"class": int(values if output == LABEL else values.argmax())}
        rows.append(row if output == LABEL else row | {output: values.tolist()})
    return rows, teacher.usage()
