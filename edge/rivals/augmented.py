"""Augmented, a control: KD whose questions are changed copies of the private images, so that they never run out.

What is sent: real images, shifted and tilted within what leaves their class as it is. Every image is asked about once
before any is asked about again. Where there are as many images as queries, it tells what the teacher says to a copy
is worth against what it says to the image.

Shapes: N questions, C channels, H height, W width.
"""

import numpy as np
import torch

from edge.asker import Asker
from edge.distillation import STAGE
from shared import pixels, seeding

BATCH = 512


def fill_pool(asker: Asker) -> None:
    """Ask about changed copies of private images."""
    seed, images = asker.config.seed, asker.local.images
    change = asker.local.augmentation._replace(tilt=asker.config.distillation.tilt)
    passes = -(-asker.queries // len(images))
    rngs = (seeding.rng(seed, STAGE, "copies", number) for number in range(passes))
    order = torch.cat([torch.randperm(len(images), generator=rng) for rng in rngs])
    copies = []
    for number, pick_B in enumerate(torch.split(order[: asker.queries], BATCH)):
        rng = seeding.rng(seed, STAGE, "changes", number)
        copies.append(pixels.to_uint8(change(pixels.from_array(images[pick_B.numpy()]), rng)).numpy())
    asker.ask(np.concatenate(copies))
