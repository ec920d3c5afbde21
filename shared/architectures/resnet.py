"""ResNet for small images: He et al., "Deep Residual Learning" (CVPR 2016), section 4.2.

Three stages of n = (depth - 2) / 6 basic blocks with 16, 32 and 64 channels, each stage but the first at half the
size of the one before; shortcuts that change the shape are 1x1 convolutions. Works from 8x8 pixels up.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if channels != width or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """[B, channels, H, W] -> [B, width, H / stride, W / stride]."""
        y_BCHW = F.relu(self.bn1(self.conv1(x_BCHW)))
        y_BCHW = self.bn2(self.conv2(y_BCHW))
        return F.relu(y_BCHW + self.shortcut(x_BCHW))


class ResNet(nn.Module):
    """ResNet-`depth` with depth = 6 n + 2."""

    def __init__(self, depth: int, *, channels: int, classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.stem = nn.Sequential(
            nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        stages, before = [], WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for block in range(blocks):
                stages.append(BasicBlock(before, width, stride=2 if stage > 0 and block == 0 else 1))
                before = width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] -> logits [B, K]."""
        features_BCHW = self.blocks(self.stem(x_BCHW))
        logits_BK: torch.Tensor = self.head(features_BCHW.mean((2, 3)))
        return logits_BK
