"""A convolution and its batch norm, of which the MobileNets consist."""

from torch import nn


def convolution(channels: int, width: int, size: int, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """`size` x `size`, without a bias, which the batch norm has; the image keeps its size but for the stride."""
    layer = nn.Conv2d(channels, width, size, stride, padding=size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(width)]
