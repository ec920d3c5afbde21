"""What the edge needs of a teacher, whoever serves it: three methods.

`edge.asking.client.TeacherClient` asks them over the Open Inference Protocol; a class with the same three methods
makes any other API a teacher, see `edge/adapters/`.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import ForeignAnswer
from shared.protocol import LABEL, PROBABILITIES, ModelMetadata, Usage

ROUNDED = 1e-3
"""How far rounding may take a probability out of [0, 1]; it is put back."""


class Reply(NamedTuple):
    """One answer: `values` float32 [N, K], or int64 [N] for `label`; bytes on the wire, retries included."""

    values: NDArray[Any]
    bytes_up: int
    bytes_down: int
    replayed: bool
    """The server had this answer stored already and charged nothing now."""


class Teacher(Protocol):
    """A model that can only be asked. Every method may raise the errors that `TeacherClient` names."""

    def metadata(self) -> ModelMetadata:
        """One input `images` UINT8 [-1, C, H, W], and which of `logits`, `probabilities`, `label` are shown.

        Asked before anything else. -1 stands for any size; K may be -1 where the server does not tell it.
        """

    def usage(self) -> Usage | None:
        """Budget and limits of this key; None where nobody counts."""

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        """The `output` for `images` uint8 [N, C, H, W]; where the server can, paid once per idempotency `key`."""


def checked_values(values: NDArray[Any], output: str, rows: int) -> NDArray[Any]:
    """A server's `values` as a `Reply` holds them, in native byte order and writable; labels may come as [N, 1].

    Raises:
        ForeignAnswer: they are not one finite row, or one class, for each of `rows` images; or probabilities that
            are none, by more than `ROUNDED`.
    """
    found = f"{values.dtype} {list(values.shape)}"
    if output == LABEL and values.shape == (rows, 1):
        values = values[:, 0]
    kinds, axes = ("iu", 1) if output == LABEL else ("f", 2)
    if values.dtype.kind not in kinds or values.ndim != axes or len(values) != rows or 0 in values.shape:
        raise ForeignAnswer(f"The server answered '{output}' as {found} to a question about {rows} images.")
    with np.errstate(over="ignore"):  # a double beyond float32 becomes infinite, and is refused as such
        values = values.astype(np.int64 if output == LABEL else np.float32)
    if not np.isfinite(values).all():
        raise ForeignAnswer(f"The server answered '{output}' with values that are not finite numbers.")
    if output == LABEL and (values < 0).any():
        raise ForeignAnswer(f"The server answered '{output}' with class {values.min()}; the first class is 0.")
    if output == PROBABILITIES:
        if values.min() < -ROUNDED or values.max() > 1 + ROUNDED:
            raise ForeignAnswer(
                f"The server answered '{output}' with values from {values.min():g} to {values.max():g}, which are no "
                "probabilities. If they are logits, name that output as such."
            )
        values = values.clip(0, 1)
    return values
