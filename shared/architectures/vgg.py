"""VGG for small images: Simonyan and Zisserman (ICLR 2015) with batch norm and one linear layer as classifier.

Five stages of 3x3 convolutions, the size halved after each of the first three, as benchmarks of distillation have it
for 32x32 pixels (Tian et al., "Contrastive Representation Distillation", ICLR 2020). Works from 1x1 pixels up.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from torch import nn

from shared.architectures.pooled_classifier import PooledClassifier

WIDTHS = (64, 128, 256, 512, 512)
LAYERS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each stage, by depth."""
HALVED = 3


class VGG(PooledClassifier):
    """VGG-`depth` with batch norm."""

    def __init__(self, depth: int, *, channels: int, classes: int) -> None:
        layers: list[nn.Module] = []
        before = channels
        for stage, (width, count) in enumerate(zip(WIDTHS, LAYERS[depth], strict=True)):
            for _ in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                before = width
            if stage < HALVED:
                layers.append(nn.MaxPool2d(2, ceil_mode=True))  # so that one pixel stays one
        super().__init__(nn.Sequential(*layers), before, classes)
