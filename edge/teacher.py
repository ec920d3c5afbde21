"""What the edge needs of a teacher, whoever serves it: three questions.

`edge.client.TeacherClient` asks them over the Open Inference Protocol; a class with the same three methods makes any
other API a teacher, see `edge/adapters/`.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.protocol import ModelMetadata, Usage


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
        """What the model takes and which of `logits`, `probabilities`, `label` it shows."""

    def usage(self) -> Usage | None:
        """Budget and limits of this key; None where nobody counts."""

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        """The `output` for `images` uint8 [N, C, H, W]; where the server can, paid once per idempotency `key`."""
