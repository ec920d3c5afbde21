"""Batch-norm statistics against sums by hand. Shapes as in `edge.adaptation`."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edge.adaptation import adapt, predict_adapting
from edge.distillation import predict
from shared import architectures, pixels
from shared.errors import InvalidConfig

Statistics = list[torch.Tensor]


class Tiny(nn.Module):
    """Batch norm, a convolution with whole weights, batch norm again, mean of every channel; keeps what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.BatchNorm2d(1), nn.BatchNorm2d(2)
        self.convolution = nn.Conv2d(1, 2, 1)
        self.seen: list[torch.Tensor] = []
        for norm in (self.first, self.second):
            assert norm.running_mean is not None and norm.running_var is not None
            nn.init.constant_(norm.running_mean, 0.25)
            nn.init.constant_(norm.running_var, 2.0)
        with torch.no_grad():
            self.convolution.weight.copy_(torch.tensor([1.0, -3.0])[:, None, None, None])
            self.convolution.load_state_dict({"bias": torch.tensor([0.5, 0.5])}, strict=False)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled(), "adaptation is forward only"
        self.seen.append(x_BCHW)
        x_BCHW = self.second(self.convolution(self.first(x_BCHW)))
        return x_BCHW.mean((2, 3))


def some(count: int, seed: int = 0, side: int = 4, least: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(least, 256, (count, 1, side, side), np.uint8)


def statistics(model: nn.Module) -> Statistics:
    return [buffer.clone() for name, buffer in model.named_buffers() if "running" in name]


def by_hand(images: NDArray[np.uint8], share: float) -> list[list[float]]:
    """Mean and variance of both norms of `Tiny`, all images as one batch, in double precision."""

    def mixed(values: NDArray[np.float64]) -> tuple[float, float]:
        return 0.25 + share * (values.mean() - 0.25), 2.0 + share * (values.var() - 2.0)

    x = images.astype(np.float64) / 127.5 - 1
    mean, var = mixed(x)
    x = (x - mean) / np.sqrt(var + 1e-5)
    plus, minus = mixed(x + 0.5), mixed(-3 * x + 0.5)
    return [[mean], [var], [plus[0], minus[0]], [plus[1], minus[1]]]


@pytest.mark.parametrize(("strength", "share"), [(0.0, 1.0), (5.0, 0.5), (20.0, 0.2), (math.inf, 0.0)])
def test_mean_and_variance_are_mixed_by_the_prior_strength_layer_after_layer(strength: float, share: float) -> None:
    images = some(5, least=100)
    found = statistics(adapt(Tiny(), images, strength))
    for there, right in zip(found, by_hand(images, share), strict=True):
        assert there.tolist() == pytest.approx(right, rel=1e-5, abs=1e-6)


def test_without_a_prior_a_batch_norm_is_what_training_would_make_of_the_batch() -> None:
    student, images = architectures.build("resnet8", channels=1, classes=10), some(30, side=8)
    adapted = adapt(student, images, 0)
    trained = student.train()
    with torch.no_grad():
        torch.testing.assert_close(predict(adapted, images), trained(pixels.from_array(images)), rtol=1e-4, atol=1e-4)


def test_an_infinite_prior_changes_nothing() -> None:
    student, images = architectures.build("resnet8", channels=1, classes=10), some(30, side=8)
    student(pixels.from_array(some(9, seed=1, side=8)))  # statistics that are not those of a fresh student
    assert torch.equal(predict(adapt(student, images, math.inf), images), predict(student, images))


def test_several_batches_give_the_statistics_of_all_images_together() -> None:
    images = np.concatenate([some(8, least=200), some(7, seed=1)])
    at_once, in_parts = (adapt(Tiny(), images, 0, batch) for batch in (15, 4))
    x = images / 127.5 - 1
    first = statistics(in_parts)[:2]
    assert [number.item() for number in first] == pytest.approx([x.mean(), x.var()], rel=1e-5)
    second, exact = statistics(in_parts)[2:], statistics(at_once)[2:]
    assert all((near - right).abs().max() < 0.2 for near, right in zip(second, exact, strict=True))


def test_batches_are_drawn_and_equal_so_that_images_in_the_order_of_their_classes_are_mixed() -> None:
    dark, bright = some(50) // 64, some(50, least=192)
    adapted = adapt(Tiny(), np.concatenate([dark, bright]), 0, batch=30)
    assert isinstance(adapted, Tiny)
    assert [len(x_BCHW) for x_BCHW in adapted.seen] == [25, 25, 25, 25]
    assert all(x_BCHW.mean().abs() < 0.5 for x_BCHW in adapted.seen), (
        "dark ones are below -0.5, bright ones above 0.5"
    )


@pytest.mark.parametrize("name", ["resnet8", "vgg11", "mobilenetv2", "shufflenetv2"])
def test_any_family_is_adapted_and_the_student_stays_as_it_was(name: str) -> None:
    student, images = architectures.build(name, channels=1, classes=10), some(6, side=8)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    adapted = adapt(student, images)
    assert student.training and not adapted.training
    assert all(torch.equal(value, before[key]) for key, value in student.state_dict().items())
    different = {key for key, value in adapted.state_dict().items() if not torch.equal(value, before[key])}
    assert different and all(key.endswith(("running_mean", "running_var")) for key in different)
    assert all(parameter.grad is None for parameter in adapted.parameters())
    assert not any(module._forward_pre_hooks for module in adapted.modules())


def test_the_same_images_give_the_same_student_bit_for_bit() -> None:
    student, images = architectures.build("resnet8", channels=1, classes=10), some(50, side=8)
    one, other = (statistics(adapt(student, images, 3, batch=16)) for _ in range(2))
    assert all(map(torch.equal, one, other))


def test_a_stream_is_answered_batch_by_batch_and_in_the_order_of_the_images() -> None:
    student, images = Tiny().eval(), some(10)
    one_batch = predict_adapting(student, images, 4, batch=10)
    assert torch.allclose(one_batch, predict(adapt(student, images, 4), images), atol=1e-6)
    alone = predict_adapting(student, images, 4, batch=1)
    for index in range(10):
        image = images[index : index + 1]
        assert torch.allclose(alone[index], predict(adapt(student, image, 4), image)[0], atol=1e-6)
    assert not torch.allclose(alone, one_batch, atol=1e-3), "an answer depends on the images beside it"


def test_a_student_without_batch_norm_is_refused() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.GroupNorm(1, 2))
    with pytest.raises(InvalidConfig, match=r"no batch norm.*resnet8"):
        adapt(plain, some(3))


@pytest.mark.parametrize("strength", [-1.0, math.nan])
def test_a_prior_strength_that_is_no_number_of_images_is_refused(strength: float) -> None:
    with pytest.raises(InvalidConfig, match=r"0 or more \(given: (-1.0|nan)\)"):
        adapt(Tiny(), some(3), strength)


@pytest.mark.parametrize("strength", [0.0, 16.0])
def test_no_images_are_nothing_to_adapt_to(strength: float) -> None:
    for call in (adapt, predict_adapting):
        with pytest.raises(InvalidConfig, match="no images to adapt to"):
            call(Tiny(), some(0), strength)
