"""ShuffleNet for small images: Zhang et al. (CVPR 2018) with three groups, as benchmarks of distillation have it.

The paper's stem halves a photograph twice; here it is a 1x1 convolution, and the three stages halve the size once
each (Tian et al., "Contrastive Representation Distillation", ICLR 2020). Works from 1x1 pixels up.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import torch
import torch.nn.functional as F
from torch import nn

from shared.architectures.pooled_classifier import PooledClassifier

STEM, GROUPS = 24, 3
WIDTHS, BLOCKS = (240, 480, 960), (4, 8, 4)


class Unit(nn.Module):
    """Narrow within groups, shuffle the groups, filter each channel alone, widen; beside a shortcut.

    Where the size is halved, the shortcut's channels are appended instead of added, so that nothing has to map them.
    """

    def __init__(self, channels: int, width: int, *, halve: bool) -> None:
        super().__init__()
        added = width - channels if halve else width
        inner = added // 4
        groups = 1 if channels == STEM else GROUPS  # too few channels to divide, says the paper
        self.conv1 = nn.Conv2d(channels, inner, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.shuffle = nn.ChannelShuffle(groups)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2 if halve else 1, padding=1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, added, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(added)
        self.pool = nn.AvgPool2d(3, stride=2, padding=1) if halve else None

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """[B, channels, H, W] -> [B, width, H, W], or half of H and W."""
        y_BCHW = self.shuffle(F.relu(self.bn1(self.conv1(x_BCHW))))
        y_BCHW = F.relu(self.bn2(self.conv2(y_BCHW)))
        y_BCHW = self.bn3(self.conv3(y_BCHW))
        if self.pool is None:
            return F.relu(x_BCHW + y_BCHW)
        return F.relu(torch.cat([y_BCHW, self.pool(x_BCHW)], 1))


class ShuffleNetV1(PooledClassifier):
    """ShuffleNet of width 1 with three groups."""

    def __init__(self, *, channels: int, classes: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(channels, STEM, 1, bias=False), nn.BatchNorm2d(STEM), nn.ReLU()]
        before = STEM
        for width, blocks in zip(WIDTHS, BLOCKS, strict=True):
            for block in range(blocks):
                layers.append(Unit(before, width, halve=block == 0))
                before = width
        super().__init__(nn.Sequential(*layers), before, classes)
