"""The teacher as the server sees it: images in, logits out.

Shapes: N images, C channels, H height, W width, K classes.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.fx.experimental.optimization import fuse

from shared import architectures, checkpoints, compute, pixels

ROLE = "teacher"


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

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K] for images uint8 [N, C, H, W]."""
        ...


class TorchTeacher:
    """A torch model, made ready for inference: batch norms folded into convolutions, channels last."""

    def __init__(self, model: torch.nn.Module, image_shape: tuple[int, int, int], classes: int) -> None:
        self.image_shape, self.classes = image_shape, classes
        self._device = compute.device()
        fused: torch.nn.Module = fuse(model.eval())
        self._model = fused.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Teacher.infer`."""
        images_NCHW = torch.tensor(images, device=self._device)
        floats_NCHW = pixels.to_float(images_NCHW).contiguous(memory_format=torch.channels_last)
        logits: NDArray[np.float32] = self._model(floats_NCHW).float().cpu().numpy()
        return logits


def load_teacher(path: Path) -> TorchTeacher:
    """The teacher that `mekd-server train` wrote to `path`.

    Raises:
        InvalidCheckpoint: not there, damaged, or not a teacher.
    """
    card, tensors = checkpoints.load(path, ROLE)
    model = architectures.build(card.architecture, channels=card.image_shape[0], classes=card.classes)
    checkpoints.restore(model, tensors, path)
    return TorchTeacher(model, card.image_shape, card.classes)
