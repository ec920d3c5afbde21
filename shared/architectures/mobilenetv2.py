"""MobileNetV2 for small images: Sandler et al. (CVPR 2018) at half width, as benchmarks of distillation have it.

One of the paper's strides, that of 24 channels, is 1 here, because images have 32 pixels a side instead of 224, and
the first block widens by 1 with a convolution of its own (Tian et al., "Contrastive Representation Distillation",
ICLR 2020). Works from 1x1 pixels up.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import torch
from torch import nn

from shared.architectures.convolution import convolution
from shared.architectures.pooled_classifier import PooledClassifier

STEM, LAST = 16, 1280
BLOCKS = ((1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))
"""Rows of the paper's table 2: expansion, width (half of it), repetitions, stride of the first."""


class InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow; with a shortcut where the shape stays."""

    def __init__(self, channels: int, width: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.layers = nn.Sequential(
            *convolution(channels, inner, 1),
            nn.ReLU(),
            *convolution(inner, inner, 3, stride=stride, groups=inner),
            nn.ReLU(),
            *convolution(inner, width, 1),
        )
        self.has_shortcut = stride == 1 and channels == width

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """[B, channels, H, W] -> [B, width, H / stride, W / stride]."""
        y_BCHW: torch.Tensor = self.layers(x_BCHW)
        return x_BCHW + y_BCHW if self.has_shortcut else y_BCHW


class MobileNetV2(PooledClassifier):
    """MobileNetV2 of width 0.5."""

    def __init__(self, *, channels: int, classes: int) -> None:
        layers: list[nn.Module] = [*convolution(channels, STEM, 3, stride=2), nn.ReLU()]
        before = STEM
        for expansion, width, repetitions, stride in BLOCKS:
            for block in range(repetitions):
                first = stride if block == 0 else 1
                layers.append(InvertedResidual(before, width, expansion=expansion, stride=first))
                before = width
        super().__init__(nn.Sequential(*layers, *convolution(before, LAST, 1), nn.ReLU()), LAST, classes)
