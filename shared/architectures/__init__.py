"""Model families for teachers and students, found by the names that the literature uses."""

from torch import nn

from shared.architectures.resnet import ResNet
from shared.errors import InvalidConfig

RESNET_DEPTHS = (8, 20, 32, 56, 110)
NAMES = tuple(f"resnet{depth}" for depth in RESNET_DEPTHS)


def build(name: str, *, channels: int, classes: int) -> nn.Module:
    """A freshly initialised classifier: float images [B, channels, H, W] in [-1, 1] -> logits [B, classes].

    Raises:
        InvalidConfig: no such architecture.
    """
    if name not in NAMES:
        raise InvalidConfig(f"There is no architecture '{name}'. Known: {', '.join(NAMES)}.")
    return ResNet(int(name.removeprefix("resnet")), channels=channels, classes=classes)


def parameter_count(model: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())
