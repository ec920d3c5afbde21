"""Noise, a control: questions of uniform random pixels. What is sent tells nothing of any image.

What a student learns from them is what the teacher gives away without any knowledge of its domain.

Shapes: N questions, C channels, H height, W width.
"""

import torch

from edge.asker import Asker
from edge.distillation import STAGE
from shared import seeding


def fill_pool(asker: Asker) -> None:
    """Ask about images whose pixels are drawn from 0 to 255, each for itself."""
    shape = (asker.queries, *asker.local.image_shape)
    rng = seeding.rng(asker.config.seed, STAGE, "noise")
    asker.ask(torch.randint(256, shape, generator=rng, dtype=torch.uint8).numpy())
