import pytest
import torch
from torch import nn

from edge.gan import Average, Discriminator, Generator

K = 10
SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 30, 30), (1, 9, 14), (3, 64, 64)]


@pytest.mark.parametrize("shape", SHAPES)
def test_latents_as_wide_as_the_logits_become_images_in_range(shape: tuple[int, int, int]) -> None:
    generator = Generator(K, shape, width=16)
    images_BCHW = generator(100 * torch.randn(7, K, generator=torch.Generator().manual_seed(0)))
    assert images_BCHW.shape == (7, *shape)
    assert images_BCHW.abs().max() <= 1


@pytest.mark.parametrize(
    ("size", "start"),
    [((8, 8), (2, 2)), ((32, 32), (8, 8)), ((64, 64), (8, 8)), ((224, 224), (7, 7)), ((6, 65), (2, 17))],
)
def test_larger_images_begin_with_as_coarse_a_map_as_those_of_32_pixels(
    size: tuple[int, int], start: tuple[int, int]
) -> None:
    assert Generator(K, (3, *size), width=8).start == (8, *start)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_gets_one_logit(shape: tuple[int, int, int]) -> None:
    logit_B = Discriminator(shape, width=8)(torch.zeros(5, *shape))
    assert logit_B.shape == (5,)
    torch.testing.assert_close(logit_B, logit_B[:1].expand(5))


def test_no_layer_of_the_discriminator_stretches_by_more_than_about_one() -> None:
    discriminator = Discriminator((1, 8, 8), width=8)
    layers = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 3
    with torch.no_grad():
        for layer in layers:
            # The spectral norm divides it out again; the power iteration of each pass finds it.
            layer.parametrizations.weight.original.mul_(50)  # type: ignore[union-attr, operator]
    for _ in range(30):
        discriminator(torch.zeros(1, 1, 8, 8))
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert 0.9 < largest < 1.05


def test_the_average_moves_by_one_minus_decay_and_copies_batch_norm_statistics() -> None:
    generator = Generator(K, (1, 8, 8), width=8)
    average = Average(generator, decay=0.75)
    before = [parameter.clone() for parameter in average.model.parameters()]
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(4.0)
    generator(torch.randn(16, K))  # changes running statistics
    average.update(generator)
    for old, new in zip(before, average.model.parameters(), strict=True):
        torch.testing.assert_close(new, old + 1.0)
    kept, current = dict(average.model.named_buffers()), dict(generator.named_buffers())
    assert kept.keys() == current.keys() and all(torch.equal(kept[name], current[name]) for name in kept)
    assert kept["blocks.0.num_batches_tracked"] == 1


def test_the_average_is_frozen_and_its_own() -> None:
    generator = Generator(K, (1, 8, 8), width=8)
    average = Average(generator, decay=0.5)
    assert not average.model.training and not any(p.requires_grad for p in average.model.parameters())
    assert generator.training and all(p.requires_grad for p in generator.parameters())
