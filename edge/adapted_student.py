"""The student of a run, adapted to images of the device and kept, or asked about test images.

Shapes: N images, K classes.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from edge.adaptation import PRIOR_STRENGTH, STREAM_BATCH, adapt, predict_adapting
from edge.distillation import predict
from edge.images.local_images import private_images, unlabelled_images
from edge.run_folder import RunFolder
from edge.training import Watcher
from shared.datasets import Images
from shared.errors import InvalidConfig

PRIVATE: Literal["private"] = "private"


@dataclass(frozen=True)
class Adaptation:
    """What a student is adapted to, and how much of its own statistics it keeps."""

    source: Literal["private", "test"] = PRIVATE
    """`private`: images of the device. `test`: the test images, batch by batch, transductively."""
    prior_strength: float = PRIOR_STRENGTH
    """Images that the student's own statistics count as."""
    images: Path | None = None
    """Folder of the device's images as they are now; None takes those that the run learnt from."""

    def __post_init__(self) -> None:
        if not 0 <= self.prior_strength < math.inf:  # nor is it NaN; infinity has no place in JSON
            raise InvalidConfig(
                f"A prior strength is a number of images, 0 or more (given: {self.prior_strength}). "
                "A large one leaves the student nearly as it is."
            )
        if self.images and self.source != PRIVATE:
            raise InvalidConfig("A folder of images to adapt to goes with 'private' only. Leave out one of the two.")


def keep_adapted(
    folder: RunFolder, adaptation: Adaptation, data_root: Path | None, watcher: Watcher
) -> dict[str, Any]:
    """Adapt a run's student to private images, and write it beside the student.

    Returns:
        What was written, and what it was adapted to.

    Raises:
        MekdError: no such run, no such images, or no batch norm.
    """
    if adaptation.source != PRIVATE:
        raise InvalidConfig(
            "Adapted to test images there is another student for every batch, and none to keep. Adapt it to the "
            "private ones."
        )
    told, adapted = _adapted(folder, adaptation, data_root, watcher)
    card, _ = folder.load_student()
    facts = {f"adaptation_{name}": float(told[name]) for name in ("images", "prior_strength")}
    folder.keep_adapted_student(adapted, card.model_copy(update={"facts": facts}))
    return {"student": str(folder.adapted_student)} | told


def predict_adapted(
    folder: RunFolder, images: Images, adaptation: Adaptation, data_root: Path | None, watcher: Watcher
) -> tuple[dict[str, Any], torch.Tensor]:
    """What a run's student was adapted to, and what it says then to test images uint8 [N, C, H, W]: logits [N, K].

    Raises:
        MekdError: as `keep_adapted`.
    """
    if adaptation.source == PRIVATE:
        told, adapted = _adapted(folder, adaptation, data_root, watcher)
        return told, predict(adapted, images)
    _, student = folder.load_student()
    logits_NK = predict_adapting(student, images, adaptation.prior_strength)
    return _told(adaptation, images) | {"batch": min(STREAM_BATCH, len(images))}, logits_NK


def run_images(folder: RunFolder, data_root: Path | None, watcher: Watcher) -> Images:
    """The images that a run learnt from, uint8 [N, C, H, W]; see `private_images`."""
    config, (card, _) = folder.config(), folder.load_student()
    return private_images(config, data_root, card.image_shape, folder.journal, watcher)


def _adapted(
    folder: RunFolder, adaptation: Adaptation, data_root: Path | None, watcher: Watcher
) -> tuple[dict[str, Any], nn.Module]:
    if adaptation.images is None:
        private = run_images(folder, data_root, watcher)
    else:
        private = unlabelled_images(adaptation.images, folder.load_student()[0].image_shape, watcher)
    _, student = folder.load_student()
    return _told(adaptation, private), adapt(student, private, adaptation.prior_strength)


def _told(adaptation: Adaptation, images: Images) -> dict[str, Any]:
    source = "folder" if adaptation.images else adaptation.source
    return {"source": source, "prior_strength": adaptation.prior_strength, "images": len(images)}
