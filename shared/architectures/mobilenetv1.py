"""MobileNet for small images: Howard et al. (2017) at full width, as the code released with MEKD has it.

The stem's stride, 2 in the paper, is 1 here, because images have 32 pixels a side instead of 224. Works from 1x1
pixels up.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from torch import nn

from shared.architectures.convolution import convolution
from shared.architectures.pooled_classifier import PooledClassifier

STEM = 32
LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
"""Rows of table 1: width and stride."""


class MobileNetV1(PooledClassifier):
    """MobileNet of width 1: a filter for each channel alone, then 1x1 convolutions across them."""

    def __init__(self, *, channels: int, classes: int) -> None:
        layers, before = [*convolution(channels, STEM, 3), nn.ReLU()], STEM
        for width, stride in LAYERS:
            layers += [*convolution(before, before, 3, stride=stride, groups=before), nn.ReLU()]
            layers += [*convolution(before, width, 1), nn.ReLU()]
            before = width
        super().__init__(nn.Sequential(*layers), before, classes)
