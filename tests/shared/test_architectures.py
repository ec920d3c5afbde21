from pathlib import Path

import pytest
import torch
from torch import nn

from shared import architectures, checkpoints
from shared.errors import InvalidConfig

PUBLISHED_MILLIONS = {"resnet20": 0.27, "resnet32": 0.46, "resnet56": 0.85, "resnet110": 1.7}
"""He et al., "Deep Residual Learning", table 6; their shortcuts have no parameters, ours a few."""

PUBLISHED = {
    "resnet20": 278_324,
    "resnet56": 861_620,
    "vgg13": 9_462_180,
    "mobilenetv2": 812_836,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
}
"""Tian et al., "Contrastive Representation Distillation": three channels, 100 classes."""

TORCHVISION_MILLIONS = {"torchvision/resnet18": 11.69, "torchvision/mobilenet_v3_small": 2.54}
"""torchvision's own table of models, for 1,000 classes."""

FAMILIES = [
    "resnet8",
    "vgg11",
    "mobilenetv1",
    "mobilenetv2",
    "shufflenetv1",
    "shufflenetv2",
    "torchvision/mobilenet_v3_small",
]


@pytest.mark.parametrize(("name", "millions"), PUBLISHED_MILLIONS.items())
def test_sizes_of_resnets_are_the_published_ones(name: str, millions: float) -> None:
    model = architectures.build(name, channels=3, classes=10)
    assert architectures.parameter_count(model) / 1e6 == pytest.approx(millions, rel=0.02)


def test_the_size_of_mobilenet_is_the_published_one() -> None:
    model = architectures.build("mobilenetv1", channels=3, classes=1000)
    assert architectures.parameter_count(model) / 1e6 == pytest.approx(4.2, abs=0.05), "Howard et al., table 8"


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_numbers_of_parameters_are_the_published_ones(name: str, parameters: int) -> None:
    assert architectures.parameter_count(architectures.build(name, channels=3, classes=100)) == parameters


@pytest.mark.parametrize(("name", "millions"), TORCHVISION_MILLIONS.items())
def test_torchvision_s_models_are_found_by_its_names(name: str, millions: float) -> None:
    model = architectures.build(name, channels=3, classes=1000)
    assert architectures.parameter_count(model) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("name", [name for name in architectures.NAMES if name.startswith(("resnet", "vgg"))])
def test_the_number_in_the_name_counts_weighted_layers(name: str) -> None:
    model = architectures.build(name, channels=1, classes=10)
    layers = [
        module
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    merged = 2 if name.startswith("vgg") else 0  # linear layers of the paper that small images do without
    assert name == f"{name.rstrip('0123456789')}{len(layers) + merged}"


@pytest.mark.parametrize(("channels", "pixels", "classes"), [(1, 8, 10), (3, 32, 100), (3, 64, 7), (1, 27, 2)])
@pytest.mark.parametrize("name", FAMILIES)
def test_images_of_any_size_become_one_logit_per_class(name: str, channels: int, pixels: int, classes: int) -> None:
    model = architectures.build(name, channels=channels, classes=classes)
    architectures.check_size(model, name, (channels, pixels, pixels))
    logits_BK = model(torch.zeros(3, channels, pixels, pixels))
    assert model.training and logits_BK.shape == (3, classes)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    model = architectures.build(name, channels=1, classes=10)
    rng = torch.Generator().manual_seed(0)
    loss = (model(torch.randn(8, 1, 16, 16, generator=rng)) * torch.randn(8, 10, generator=rng)).sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_in_evaluation_an_image_gets_the_same_logits_whatever_is_beside_it(name: str) -> None:
    model = architectures.build(name, channels=1, classes=10)
    images = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    model(images)
    model.eval()
    with torch.inference_mode():
        together = model(images)
        assert torch.equal(together, model(images))
        torch.testing.assert_close(model(images[2:3]), together[2:3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_checkpoint_holds_the_whole_model(name: str, tmp_path: Path) -> None:
    model, path = architectures.build(name, channels=1, classes=10), tmp_path / "model.safetensors"
    model(torch.randn(8, 1, 16, 16))  # so that batch norms have something of their own to store
    card = checkpoints.Card(
        role="student", architecture=name, dataset="x", image_shape=(1, 16, 16), classes=10, seed=0
    )
    checkpoints.save(path, model, card)
    loaded, tensors = checkpoints.load(path, "student")
    again = architectures.build(loaded.architecture, channels=1, classes=10)
    checkpoints.restore(again, tensors, path)
    images = torch.randn(2, 1, 16, 16)
    assert torch.equal(again.eval()(images), model.eval()(images))


def test_images_that_are_too_small_are_refused_before_training() -> None:
    model = architectures.build("torchvision/alexnet", channels=1, classes=10)
    architectures.check_size(model, "torchvision/alexnet", (1, 64, 64))
    with pytest.raises(InvalidConfig, match=r"torchvision/alexnet cannot take images of 8x9 pixels .* resnet8"):
        architectures.check_size(model, "torchvision/alexnet", (1, 8, 9))


@pytest.mark.parametrize("name", ["resnet9", "vgg", "resnet", "", "resnet50"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidConfig, match=rf"no architecture '{name}'\. Known: resnet8, resnet20.*torchvision/"):
        architectures.build(name, channels=1, classes=10)


@pytest.mark.parametrize("name", ["resnet9000", "vit_b_16", "googlenet", ""])
def test_an_unknown_name_of_torchvision_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InvalidConfig, match=f"no architecture 'torchvision/{name}'.*resnet50"):
        architectures.build(f"torchvision/{name}", channels=1, classes=10)
