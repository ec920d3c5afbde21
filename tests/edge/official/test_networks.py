from typing import TypeVar

import pytest
import torch
from torch import nn

from edge.gan import Generator
from edge.official.networks import OfficialDiscriminator, OfficialGenerator
from shared.architectures import parameter_count
from shared.seeding import seed_initial_weights

Layer = TypeVar("Layer", bound=nn.Module)

K = 10
SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 9, 14)]


def of_kind(network: nn.Module, kind: type[Layer]) -> list[Layer]:
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize("shape", SHAPES)
def test_latents_become_images_and_images_probabilities(shape: tuple[int, int, int]) -> None:
    images_BCHW = OfficialGenerator(K, shape, width=8)(torch.randn(7, K))
    assert images_BCHW.shape == (7, *shape) and images_BCHW.abs().max() <= 1
    real_B = OfficialDiscriminator(shape)(images_BCHW)
    assert real_B.shape == (7,) and real_B.min() > 0 and real_B.max() < 1


def test_they_have_the_released_sizes_at_32x32() -> None:
    linear, norms = 11 * 128 * 8 * 8, 2 * (128 + 128 + 64)
    convolutions = (9 * 128 + 1) * 128 + (9 * 128 + 1) * 64 + (9 * 64 + 1)
    assert parameter_count(OfficialGenerator(K, (1, 32, 32), width=128)) == linear + norms + convolutions
    convolutions = (9 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128
    assert parameter_count(OfficialDiscriminator((1, 32, 32))) == convolutions + 2 * (32 + 64 + 128) + 128 * 4 + 1


def test_batch_norms_behind_convolutions_add_what_was_meant_for_a_momentum() -> None:
    generator, discriminator = OfficialGenerator(K, (1, 8, 8), width=8), OfficialDiscriminator((1, 8, 8))
    assert [norm.eps for norm in of_kind(generator, nn.BatchNorm2d)] == [1e-5, 0.8, 0.8]
    assert [norm.eps for norm in of_kind(discriminator, nn.BatchNorm2d)] == [0.8] * 3
    assert {norm.momentum for norm in of_kind(discriminator, nn.BatchNorm2d)} == {0.1}
    assert [norm.eps for norm in of_kind(Generator(K, (1, 8, 8), width=8), nn.BatchNorm2d)] == [1e-5] * 3


def test_initial_weights_are_those_of_a_dcgan() -> None:
    seed_initial_weights(0, "a test")
    networks = OfficialGenerator(K, (3, 32, 32), width=128), OfficialDiscriminator((3, 32, 32))
    for network in networks:
        weights = torch.cat([convolution.weight.flatten() for convolution in of_kind(network, nn.Conv2d)])
        assert weights.std().item() == pytest.approx(0.02, rel=0.05)
        for norm in of_kind(network, nn.BatchNorm2d):
            assert norm.weight.std().item() == pytest.approx(0.02, rel=0.5)
            assert norm.weight.mean().item() == pytest.approx(1, abs=0.02) and not norm.bias.any()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 9, 14)])
def test_batches_of_any_size_can_be_told_apart_by_their_means(shape: tuple[int, int, int]) -> None:
    """Behind batch norms of single pixels all batches would have the same mean logit."""
    discriminator = OfficialDiscriminator(shape)
    for dropout in of_kind(discriminator, nn.Dropout2d):
        dropout.p = 0.0
    with torch.no_grad():
        for convolution in of_kind(discriminator, nn.Conv2d):
            convolution.weight.mul_(10)
        x_BCHW = torch.randn(64, *shape, generator=torch.Generator().manual_seed(0))
        slope_W = torch.linspace(-1, 1, shape[2])
        means = [discriminator.judge[:-1](batch_BCHW).mean().item() for batch_BCHW in (x_BCHW, x_BCHW + slope_W)]
    assert abs(means[0] - means[1]) > 0.01


def test_the_discriminator_drops_whole_channels_in_training_only() -> None:
    discriminator, x_BCHW = OfficialDiscriminator((1, 8, 8)), torch.randn(6, 1, 8, 8)
    assert [dropout.p for dropout in of_kind(discriminator, nn.Dropout2d)] == [0.25] * 4
    assert not torch.equal(discriminator(x_BCHW), discriminator(x_BCHW))
    discriminator.eval()
    assert torch.equal(discriminator(x_BCHW), discriminator(x_BCHW))
