"""What the convolutional families but the ResNets share: features, their mean over the image, one linear layer.

Shapes: B batch, C channels, H height, W width, K classes.
"""

import torch
from torch import nn


class PooledClassifier(nn.Module):
    """Float images [B, C, H, W] -> logits [B, K], over `features` that end in `width` channels."""

    def __init__(self, features: nn.Sequential, width: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] -> logits [B, K]."""
        logits_BK: torch.Tensor = self.head(self.features(x_BCHW).mean((2, 3)))
        return logits_BK
