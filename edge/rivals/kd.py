"""KD: the student learns the teacher's answers to the private images, which are sent.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015. What is sent: real images. It is no
choice for a device that must not send them; it tells what keeping them costs, at the same number of queries.

Its questions are those of ML, AL, DKD and KN too, which differ in what they learn from the answers.

Shapes: N questions, C channels, H height, W width.
"""

import torch

from edge.asker import Asker
from edge.distillation import STAGE
from edge.images.local_images import LocalImages
from edge.transfer_set.journal import Images
from shared import seeding


def fill_pool(asker: Asker) -> None:
    """Ask about private images, drawn without repetition."""
    asker.ask(drawn(asker.local, asker.queries, asker.config.seed))


def drawn(local: LocalImages, count: int, seed: int) -> Images:
    """At most `count` private images uint8 [N, C, H, W]; a smaller count draws the first of them."""
    order = torch.randperm(len(local.images), generator=seeding.rng(seed, STAGE, "private"))
    images: Images = local.images[order[:count].numpy()]
    return images


def most(images: int) -> int:
    """Questions that can be made of so many images: each is asked about once."""
    return images
