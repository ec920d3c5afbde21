"""KD: the student learns the teacher's answers to the private images, which are sent.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. What is sent: real images. It is no
choice for a device that must not send them; it tells what keeping them costs, at the same number of queries.

Shapes: N questions, C channels, H height, W width.
"""

import torch

from edge.config import Config
from edge.deprivatization import Ask
from edge.distillation import STAGE
from edge.images.local_images import LocalImages
from edge.transfer_set.journal import TransferSet
from shared import seeding
from shared.errors import InvalidConfig


def fill_pool(local: LocalImages, ask: Ask, queries: int, config: Config) -> TransferSet:
    """Ask about `queries` private images, drawn without repetition; at most that many pairs come back."""
    order = torch.randperm(len(local.images), generator=seeding.rng(config.seed, STAGE, "private"))
    return ask(STAGE, local.images[order[:queries].numpy()])


def check_enough(local: LocalImages, queries: int) -> None:
    """Refuse to plan more questions than there are images.

    Raises:
        InvalidConfig: names both numbers.
    """
    if queries > len(local.images):
        raise InvalidConfig(
            f"Method 'kd' asks about each private image once: {queries} queries, {len(local.images)} images. "
            f"Use --budget {len(local.images)} or less."
        )
