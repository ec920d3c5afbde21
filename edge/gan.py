"""The two networks of step 1: a DCGAN whose latent space is the teacher's logit space (paper, deprivatization).

The generator has the official one's layers, and more of them for larger images; the discriminator is smaller in depth
at small sizes and spectrally normalised (Miyato et al., ICLR 2018) in place of batch norm and dropout, because a few
hundred images are all it ever sees.

Shapes: B batch, K classes = latent dimension, C channels, H height, W width.
"""

import copy
import math

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

OFFICIAL_DOUBLINGS = 2
"""How often the official generator doubles the sides of its first map, to 32 pixels."""
COARSEST = 7
"""Pixels of that map's shorter side, at least, where it is doubled more often: 8 for 64, and 7 for 224."""


class Generator(nn.Module):
    """Latents [B, K] -> images [B, C, H, W] in [-1, 1]; `eps` is that of the batch norms behind a convolution."""

    architecture = "dcgan"
    """Its name in a checkpoint."""

    def __init__(self, classes: int, image_shape: tuple[int, int, int], width: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        channels, *self.size = image_shape
        doublings = max(OFFICIAL_DOUBLINGS, int(math.log2(min(self.size) / COARSEST)))
        self.start = (width, *(-(-side // 2**doublings) for side in self.size))
        self.project = nn.Linear(classes, math.prod(self.start))
        layers: list[nn.Module] = [nn.BatchNorm2d(width)]
        for doubling in range(doublings):
            narrower = width if doubling < doublings - 1 else width // 2
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(width, narrower, 3, padding=1)]
            layers += [nn.BatchNorm2d(narrower, eps), nn.LeakyReLU(0.2)]
        self.blocks = nn.Sequential(*layers, nn.Conv2d(width // 2, channels, 3, padding=1), nn.Tanh())

    def forward(self, z_BK: torch.Tensor) -> torch.Tensor:
        """Latents, usually N(0, I) or a model's logits / tau -> images."""
        start_BCHW = self.project(z_BK).unflatten(1, self.start)
        images_BCHW: torch.Tensor = self.blocks(start_BCHW.contiguous(memory_format=torch.channels_last))
        height, columns = self.size
        return images_BCHW[:, :, :height, :columns]  # less only where a side is no multiple of 2^doublings


class Discriminator(nn.Module):
    """Images [B, C, H, W] -> logit of "real" [B], so that D(x) of the paper is its sigmoid."""

    def __init__(self, image_shape: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        channels, height, columns = image_shape
        layers: list[nn.Module] = []
        halvings = max(1, int(math.log2(min(height, columns))) - 1)  # down to 2x2 from a power of two
        for depth in range(halvings):
            wider = width * 2 ** min(depth, 2)
            layers += [spectral_norm(nn.Conv2d(channels, wider, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
            channels = wider
        flat = channels * (height >> halvings) * (columns >> halvings)
        self.judge = nn.Sequential(*layers, nn.Flatten(), spectral_norm(nn.Linear(flat, 1)))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Images -> logits of being real."""
        logit_B1: torch.Tensor = self.judge(x_BCHW)
        return logit_B1.squeeze(1)


class Average:
    """Exponential moving average of a generator; the average is what is kept, asked with and grafted."""

    def __init__(self, model: Generator, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Generator) -> None:
        """Move the average a step towards `model`; batch-norm statistics are already averages and are copied."""
        for mean, now in zip(self.model.parameters(), model.parameters(), strict=True):
            mean.data.lerp_(now.data, 1 - self.decay)
        for kept, current in zip(self.model.buffers(), model.buffers(), strict=True):
            kept.copy_(current)
