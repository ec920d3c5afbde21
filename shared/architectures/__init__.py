"""Model families for teachers and students, found by the names that the literature uses.

    resnet8 20 32 56 110     CIFAR's ResNets
    vgg11 13 16 19           with batch norm and one linear layer
    mobilenetv1              of width 1
    mobilenetv2              of width 0.5
    shufflenetv1             of width 1, three groups
    shufflenetv2             of width 1
    torchvision/NAME         torchvision's models for larger images: torchvision/resnet50

Numbers of parameters are in `server/README.md`. All but torchvision's take images of any size.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from shared.architectures import from_torchvision
from shared.architectures.mobilenetv1 import MobileNetV1
from shared.architectures.mobilenetv2 import MobileNetV2
from shared.architectures.resnet import ResNet
from shared.architectures.shufflenetv1 import ShuffleNetV1
from shared.architectures.shufflenetv2 import ShuffleNetV2
from shared.architectures.vgg import VGG
from shared.errors import InvalidConfig

_FAMILIES: dict[str, Callable[..., nn.Module]] = {
    **{f"resnet{depth}": partial(ResNet, depth) for depth in (8, 20, 32, 56, 110)},
    **{f"vgg{depth}": partial(VGG, depth) for depth in (11, 13, 16, 19)},
    "mobilenetv1": MobileNetV1,
    "mobilenetv2": MobileNetV2,
    "shufflenetv1": ShuffleNetV1,
    "shufflenetv2": ShuffleNetV2,
}
NAMES = tuple(_FAMILIES)
"""Without those of torchvision."""


def build(name: str, *, channels: int, classes: int) -> nn.Module:
    """A freshly initialised classifier: float images [B, channels, H, W] in [-1, 1] -> logits [B, classes].

    Raises:
        InvalidConfig: no such architecture.
    """
    if name.startswith(from_torchvision.PREFIX):
        return from_torchvision.build(name, channels=channels, classes=classes)
    if name not in _FAMILIES:
        known = ", ".join(NAMES)
        raise InvalidConfig(
            f"There is no architecture '{name}'. Known: {known}; for larger images torchvision/resnet50 and others."
        )
    return _FAMILIES[name](channels=channels, classes=classes)


@torch.inference_mode()
def check_size(model: nn.Module, name: str, image_shape: tuple[int, int, int]) -> None:
    """Try a model on one black image of `image_shape` (channels, height, width), before anything is spent on it.

    Raises:
        InvalidConfig: the images are too small for it.
    """
    training = model.training
    try:
        model.eval()(torch.zeros(1, *image_shape))
    except RuntimeError as error:
        height, width = image_shape[1:]
        raise InvalidConfig(
            f"{name} cannot take images of {height}x{width} pixels ({str(error).splitlines()[0].rstrip('.')}). "
            f"Take an architecture for small images: {', '.join(NAMES)}."
        ) from None
    finally:
        model.train(training)


def parameter_count(model: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in model.parameters())
