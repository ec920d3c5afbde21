"""ShuffleNetV2 for small images: Ma et al. (ECCV 2018) at width 1, as benchmarks of distillation have it.

The paper's stem halves a photograph twice; here it is a 1x1 convolution, and the three stages halve the size once
each (Tian et al., "Contrastive Representation Distillation", ICLR 2020). Works from 1x1 pixels up.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import torch
from torch import nn

from shared.architectures.pooled_classifier import PooledClassifier

STEM, LAST = 24, 1024
WIDTHS, UNITS = (116, 232, 464), (3, 7, 3)
"""Of each stage: channels, and units after the one that halves the size."""


def _pointwise(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]


def _depthwise(width: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False), nn.BatchNorm2d(width)]


class Unit(nn.Module):
    """Half of the channels pass, the other half is filtered; then both are shuffled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(*_pointwise(half, half), *_depthwise(half, 1), *_pointwise(half, half))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """[B, width, H, W] -> the same shape."""
        passed_BCHW, rest_BCHW = x_BCHW.chunk(2, 1)
        shuffled_BCHW: torch.Tensor = self.shuffle(torch.cat([passed_BCHW, self.branch(rest_BCHW)], 1))
        return shuffled_BCHW


class DownUnit(nn.Module):
    """All channels go through both branches, at half the size."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        half = width // 2
        self.left = nn.Sequential(*_depthwise(channels, 2), *_pointwise(channels, half))
        self.right = nn.Sequential(*_pointwise(channels, half), *_depthwise(half, 2), *_pointwise(half, half))
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """[B, channels, H, W] -> [B, width, H / 2, W / 2]."""
        shuffled_BCHW: torch.Tensor = self.shuffle(torch.cat([self.left(x_BCHW), self.right(x_BCHW)], 1))
        return shuffled_BCHW


class ShuffleNetV2(PooledClassifier):
    """ShuffleNetV2 of width 1."""

    def __init__(self, *, channels: int, classes: int) -> None:
        layers: list[nn.Module] = _pointwise(channels, STEM)
        before = STEM
        for width, units in zip(WIDTHS, UNITS, strict=True):
            layers += [DownUnit(before, width), *(Unit(width) for _ in range(units))]
            before = width
        super().__init__(nn.Sequential(*layers, *_pointwise(before, LAST)), LAST, classes)
