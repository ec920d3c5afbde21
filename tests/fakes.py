"""Stand-ins with known maths, for tests of both sides."""

import threading

import numpy as np
from numpy.typing import NDArray


class LinearTeacher:
    """logits = pixels @ weights, in whole numbers / 256: exact in float32, whatever batch an image comes in.

    Counts what it was asked: `batches` holds the size of every pass of the model, padding included.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10, version: str = "linear"
    ) -> None:
        self.image_shape, self.classes, self.version = image_shape, classes, version
        self.batches: list[int] = []
        pixels = int(np.prod(image_shape))
        self._weights = (np.arange(pixels)[:, None] * (np.arange(classes) + 3)) % 11 - 5

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The right answer, uncounted: float32 [N, K] for images uint8 [N, C, H, W]."""
        scores = images.reshape(len(images), -1).astype(np.int64) @ self._weights
        return (scores / 256).astype(np.float32)

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The right answer, counted."""
        self.batches.append(len(images))
        return self.logits(images)


class HeldTeacher(LinearTeacher):
    """Answers only after `release`; `entered` tells that a pass has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.release = threading.Event(), threading.Event()

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.entered.set()
        assert self.release.wait(timeout=30), "nobody released the teacher"
        return super().infer(images)


class BrokenTeacher(LinearTeacher):
    """Answers with NaN, or raises an exception that tells a secret."""

    def __init__(self, secret: str | None = None) -> None:
        super().__init__()
        self.secret = secret

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.secret is not None:
            raise RuntimeError(self.secret)
        return np.full_like(super().infer(images), np.nan)
