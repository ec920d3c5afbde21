"""torchvision's classification models for larger images, by torchvision's own names: `torchvision/resnet50`.

Always untrained: weights from elsewhere would have seen other images than the dataset's. Left out are those that are
made for one size of images (ViT, MaxViT), and those that answer with more than logits while they train.
"""

from torch import nn

from shared.errors import InvalidConfig

PREFIX = "torchvision/"
LEFT_OUT = ("googlenet", "inception", "maxvit", "vit")


def names() -> tuple[str, ...]:
    """Every name that `build` takes."""
    from shared.vision import models  # torchvision takes a second to import, and most runs do without it

    found: list[str] = models.list_models(module=models)
    return tuple(PREFIX + name for name in found if not name.startswith(LEFT_OUT))


def build(name: str, *, channels: int, classes: int) -> nn.Module:
    """An untrained model; its first convolution is made anew where the images do not have three channels.

    Raises:
        InvalidConfig: not one of `names()`.
    """
    from shared.vision import models

    if name not in names():
        raise InvalidConfig(
            f"There is no architecture '{name}'. After '{PREFIX}' stands a name of torchvision.models, one of "
            f"{', '.join(known.removeprefix(PREFIX) for known in names())}."
        )
    model: nn.Module = models.get_model(name.removeprefix(PREFIX), weights=None, num_classes=classes)
    path, first = next((path, part) for path, part in model.named_modules() if isinstance(part, nn.Conv2d))
    if channels != first.in_channels:
        model.set_submodule(path, _with_channels(first, channels))
    return model


def _with_channels(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    made = nn.Conv2d(
        channels,
        convolution.out_channels,
        (convolution.kernel_size[0], convolution.kernel_size[1]),
        (convolution.stride[0], convolution.stride[1]),
        padding=(int(convolution.padding[0]), int(convolution.padding[1])),
        bias=convolution.bias is not None,
    )
    nn.init.kaiming_normal_(made.weight, mode="fan_out")
    return made
