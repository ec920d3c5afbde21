"""The released losses against numbers worked out with `math` alone, and their gradients against finite differences.

B batch, K classes.
"""

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from edge import losses
from edge.official.losses import (
    discriminator_loss,
    generator_loss,
    image_loss,
    information_maximisation_loss,
    kl_loss,
)
from tests.edge.test_losses import kl, softmax


def test_the_adversarial_losses_are_cross_entropies_of_probabilities() -> None:
    real, fake = [0.9, 0.2, 0.5], [0.3, 0.6]
    on_real = -sum(map(math.log, real)) / 3
    on_fake = -sum(math.log(1 - probability) for probability in fake) / 2
    assert discriminator_loss(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(on_real + on_fake)
    assert generator_loss(torch.tensor(fake)).item() == pytest.approx(-sum(map(math.log, fake)) / 2)


def test_a_discriminator_that_is_sure_costs_a_hundred() -> None:
    sure = torch.tensor([0.0, 0.0])
    assert generator_loss(sure).item() == discriminator_loss(sure, sure).item() == 100


def test_information_maximisation_weighs_every_image_by_the_class_index_of_every_other() -> None:
    index, fake = [3, 0, 7], [0.9, 0.2, 0.5]
    pairs = [i * -math.log(d + 1e-5) for i, d in itertools.product(index, fake)]
    loss = information_maximisation_loss(torch.tensor(fake), sum(index) / 3)
    assert loss.shape == () and loss.item() == pytest.approx(sum(pairs) / 9)
    assert information_maximisation_loss(torch.tensor(fake), 0.0).item() == 0


def test_the_image_loss_is_a_mean_over_pixels() -> None:
    student, teacher = torch.zeros(2, 1, 2, 3), torch.zeros(2, 1, 2, 3)
    student[0, 0, 0] = torch.tensor([0.5, -0.25, 1.0])
    teacher[1, 0, 1, 2] = -2.0
    assert image_loss(student, teacher).item() == pytest.approx((0.5 + 0.25 + 1.0 + 2.0) / 12)
    assert image_loss(student, teacher) * 6 == losses.image_loss(student, teacher)


def test_the_kl_loss_is_times_tau_and_not_tau_squared() -> None:
    student, teacher, tau = [[1.0, -1.0], [0.0, 3.0]], [[2.0, 0.5], [-1.0, 1.0]], 2.0
    pairs = zip(teacher, student, strict=True)
    expected = tau * sum(kl(softmax(t, tau), softmax(s, tau)) for t, s in pairs) / 2
    assert kl_loss(torch.tensor(student), torch.tensor(teacher), tau).item() == pytest.approx(expected, rel=1e-5)
    corrected = losses.kl_loss(torch.tensor(student), torch.tensor(teacher), tau)
    assert corrected.item() == pytest.approx(tau * expected, rel=1e-5)


def test_a_one_hot_vector_taken_for_logits_is_nearly_uniform() -> None:
    assert softmax([1.0, *[0.0] * 9], 5.0)[:2] == pytest.approx([0.1195, 0.0978], abs=1e-4)
    one_hot_BK = torch.eye(10)[:1]
    nothing_learnt, sure = (kl_loss(scale * one_hot_BK, one_hot_BK, 5.0).item() for scale in (0, 20))
    assert nothing_learnt < 0.011 < 1 < sure


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda x_BK, other_BK: discriminator_loss(x_BK[:, 0].sigmoid(), x_BK[:, 1].sigmoid()),
        lambda x_BK, other_BK: generator_loss(x_BK[:, 0].sigmoid()),
        lambda x_BK, other_BK: information_maximisation_loss(x_BK[:, 0].sigmoid(), 4.5),
        lambda x_BK, other_BK: image_loss(x_BK[:, None, None], other_BK[:, None, None]),
        lambda x_BK, other_BK: kl_loss(x_BK, other_BK, 3.0),
    ],
    ids=["discriminator", "generator", "information maximisation", "image", "kl"],
)
def test_gradients_are_those_of_finite_differences(
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    rng = torch.Generator().manual_seed(0)
    x_BK = torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    other_BK = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss_of(x, other_BK), x_BK)
