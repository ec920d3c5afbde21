"""The released code's two networks: a DCGAN without what keeps a GAN on few images from collapsing.

Both write 0.8 as the second argument of a batch norm. It was probably meant for the momentum, and is the number that
is added to the variance: small activations are hardly normalised.

The released code scales all its datasets to 32x32. Here images keep the size that the teacher takes, and smaller ones
are enlarged before the discriminator: at 8x8 the last of its maps would be a single pixel, whose batch norm gives a
real and a generated batch the same mean, so that nothing could tell them apart.

Shapes: B batch, K classes = latent dimension, C channels, H height, W width.
"""

import math

import torch
from torch import nn

from edge.gan import Generator

EPS = 0.8
DEVIATION = 0.02
"""Of initial weights, as DCGANs have it (Radford et al., ICLR 2016)."""
WIDTHS = (16, 32, 64, 128)
SIDE = 32
"""Pixels of the shorter side, at least, of what the discriminator sees."""


class OfficialGenerator(Generator):
    """The generator with the batch norms' 0.8 and a DCGAN's initial weights."""

    architecture = "dcgan-official"

    def __init__(self, classes: int, image_shape: tuple[int, int, int], width: int) -> None:
        super().__init__(classes, image_shape, width, eps=EPS)
        self.apply(_initialise)


class OfficialDiscriminator(nn.Module):
    """Images [B, C, H, W] -> probability of being real [B]."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *size = image_shape
        layers: list[nn.Module] = []
        if (smaller := min(size)) < SIDE:
            size = [-(-side * SIDE // smaller) for side in size]
            layers.append(nn.Upsample(tuple(size), mode="bilinear"))
        for depth, width in enumerate(WIDTHS):
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Dropout2d(0.25)]
            if depth > 0:
                layers.append(nn.BatchNorm2d(width, EPS))
            channels, size = width, [-(-side // 2) for side in size]
        self.judge = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * math.prod(size), 1), nn.Sigmoid())
        self.apply(_initialise)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Images -> probabilities of being real."""
        real_B1: torch.Tensor = self.judge(x_BCHW)
        return real_B1.squeeze(1)


def _initialise(module: nn.Module) -> None:
    """Convolutions and batch norms; biases of convolutions and linear layers stay as torch makes them."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, DEVIATION)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, DEVIATION)
        nn.init.zeros_(module.bias)
