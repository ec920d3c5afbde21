import pytest
import torch
from torch import nn

from shared import architectures
from shared.errors import InvalidConfig

PUBLISHED_MILLIONS = {"resnet20": 0.27, "resnet32": 0.46, "resnet56": 0.85, "resnet110": 1.7}
"""He et al., "Deep Residual Learning", table 6; their shortcuts have no parameters, ours a few."""


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_MILLIONS.items())
def test_sizes_are_the_published_ones(name: str, millions: float) -> None:
    model = architectures.build(name, channels=3, classes=10)
    assert architectures.parameter_count(model) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("name", architectures.NAMES)
def test_the_name_is_the_number_of_weighted_layers(name: str) -> None:
    model = architectures.build(name, channels=1, classes=10)
    layers = [
        module
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    assert f"resnet{len(layers)}" == name


@pytest.mark.parametrize(("channels", "pixels", "classes"), [(1, 8, 10), (3, 32, 100), (1, 28, 7)])
def test_images_become_one_logit_per_class(channels: int, pixels: int, classes: int) -> None:
    model = architectures.build("resnet8", channels=channels, classes=classes)
    logits_BK = model(torch.zeros(3, channels, pixels, pixels))
    assert logits_BK.shape == (3, classes)
    assert sum(p.numel() for p in model.parameters()) == architectures.parameter_count(model)


def test_every_parameter_learns() -> None:
    model = architectures.build("resnet8", channels=1, classes=10)
    rng = torch.Generator().manual_seed(0)
    loss = (model(torch.randn(8, 1, 8, 8, generator=rng)) * torch.randn(8, 10, generator=rng)).sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", ["resnet9", "vgg", "resnet", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidConfig, match=f"no architecture '{name}'. Known: resnet8, resnet20"):
        architectures.build(name, channels=1, classes=10)
