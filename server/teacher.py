"""The teacher as the rest of the server sees it: images in, logits out."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Teacher(Protocol):
    """A classifier behind the API."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        ...

    @property
    def classes(self) -> int:
        """Number of classes K."""
        ...

    @property
    def version(self) -> str:
        """Tells this model from any other that may be served in its place."""
        ...

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K] for images uint8 [N, C, H, W]; called from one thread."""
        ...
