"""Which images the report shows: those of each class side by side, and what the student gets wrong with conviction.

Shapes: N images, K classes, C channels, H height, W width.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.answers import labels
from edge.config import Config
from edge.distillation import predict, split
from edge.report.figures import GRID_COLUMNS
from edge.transfer_set.journal import Images
from edge.transfer_set.stored_pairs import StoredPairs

CLASSES_SHOWN = 12
MISTAKES_SHOWN = 2 * GRID_COLUMNS


def teacher_classes(pairs: StoredPairs) -> NDArray[np.int64]:
    """The teacher's class [N] of every stored answer."""
    return labels(torch.from_numpy(np.array(pairs.answers)), pairs.kind.output).numpy()


def student_classes(student: nn.Module, images: Images) -> NDArray[np.int64]:
    """The student's class [N] of images uint8 [N, C, H, W]."""
    return predict(student, images).argmax(1).numpy()


def by_class(images: Images, label_N: NDArray[np.int64], classes: int) -> dict[str, Images]:
    """The first images of each class, of at most `CLASSES_SHOWN` classes."""
    return {str(label): images[label_N == label][:GRID_COLUMNS] for label in range(min(classes, CLASSES_SHOWN))}


def mistakes(student: nn.Module, pairs: StoredPairs, config: Config) -> tuple[Images, list[str], int]:
    """Held-out images that the student calls otherwise than the teacher, the surest first; how many there are."""
    _, held_out = split(len(pairs), config.distillation.held_out, config.seed)
    images, teacher_M = pairs.images[held_out.numpy()], teacher_classes(pairs)[held_out.numpy()]
    probability_MK = predict(student, images).softmax(1).numpy()
    student_M, sureness_M = probability_MK.argmax(1), probability_MK.max(1)
    wrong = np.flatnonzero(student_M != teacher_M)
    worst = wrong[np.argsort(-sureness_M[wrong], kind="stable")][:MISTAKES_SHOWN]
    titles = [f"{teacher_M[place]} as {student_M[place]}\n{sureness_M[place]:.0%}" for place in worst]
    return images[worst], titles, len(wrong)
