"""Every loss against numbers worked out with `math` alone, and its gradient against finite differences.

B batch, K classes.
"""

import math
from collections.abc import Callable

import pytest
import torch

from edge.losses import (
    discriminator_loss,
    generator_loss,
    image_loss,
    information_maximisation_loss,
    kl_loss,
    label_loss,
    surest_label,
)


def log_sigmoid(logit: float) -> float:
    return -math.log(1 + math.exp(-logit))


def softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_the_discriminator_loss_is_binary_cross_entropy_of_both_halves() -> None:
    real, fake = [2.0, -1.0, 0.0], [0.5, -3.0]
    on_real = -sum(map(log_sigmoid, real)) / 3
    on_fake = -sum(math.log(1 - math.exp(log_sigmoid(logit))) for logit in fake) / 2
    assert discriminator_loss(torch.tensor(real), torch.tensor(fake)).item() == pytest.approx(on_real + on_fake)
    assert discriminator_loss(torch.zeros(4), torch.zeros(4)).item() == pytest.approx(2 * math.log(2))


def test_the_generator_loss_is_non_saturating() -> None:
    fake = [1.5, -2.0]
    assert generator_loss(torch.tensor(fake)).item() == pytest.approx(-sum(map(log_sigmoid, fake)) / 2)
    logit = torch.tensor([-50.0], requires_grad=True)  # where the saturating form log(1 - D) has no slope left
    generator_loss(logit).backward()  # type: ignore[no-untyped-call]
    assert logit.grad is not None and logit.grad.item() == pytest.approx(-1)


def test_the_gan_losses_stay_finite_for_a_discriminator_that_is_sure() -> None:
    sure = torch.tensor([500.0])
    assert discriminator_loss(-sure, sure).item() == pytest.approx(1000)
    assert generator_loss(-sure).item() == pytest.approx(500)


def test_information_maximisation_weighs_every_image_by_its_own_confidence() -> None:
    fake, confidence = [1.0, -2.0, 0.3], [0.9, 0.2, 0.5]
    expected = -sum(y * log_sigmoid(logit) for y, logit in zip(confidence, fake, strict=True)) / 3
    loss = information_maximisation_loss(torch.tensor(fake), torch.tensor(confidence))
    assert loss.shape == () and loss.item() == pytest.approx(expected)
    assert torch.equal(information_maximisation_loss(sure := torch.randn(5), torch.ones(5)), generator_loss(sure))


def test_the_image_loss_is_a_norm_per_image_and_a_mean_over_the_batch() -> None:
    student, teacher = torch.zeros(2, 1, 2, 3), torch.zeros(2, 1, 2, 3)
    student[0, 0, 0] = torch.tensor([0.5, -0.25, 1.0])
    teacher[1, 0, 1, 2] = -2.0
    assert image_loss(student, teacher).item() == pytest.approx((0.5 + 0.25 + 1.0 + 2.0) / 2)
    assert image_loss(student.repeat(3, 1, 1, 1), teacher.repeat(3, 1, 1, 1)) == image_loss(student, teacher)


def test_the_kl_loss_is_tempered_and_times_tau_squared() -> None:
    student, teacher, tau = [[1.0, -1.0], [0.0, 3.0]], [[2.0, 0.5], [-1.0, 1.0]], 2.0
    pairs = zip(teacher, student, strict=True)
    expected = tau**2 * sum(kl(softmax(t, tau), softmax(s, tau)) for t, s in pairs) / 2
    assert kl_loss(torch.tensor(student), torch.tensor(teacher), tau).item() == pytest.approx(expected, rel=1e-5)


def test_the_kl_loss_is_zero_only_at_the_same_distribution_and_ignores_a_constant() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    assert kl_loss(logits + 7, logits, 5.0).item() == pytest.approx(0, abs=1e-12)
    assert kl_loss(logits * 2, logits, 5.0).item() > 1e-3


def test_the_label_loss_is_cross_entropy_against_a_smoothed_label() -> None:
    logits, smoothing = [2.0, -1.0, 0.0], 0.3
    target = [0.1, 0.8, 0.1]  # 1 - 0.3 + 0.3 / 3 on the label
    expected = -sum(t * math.log(p) for t, p in zip(target, softmax(logits), strict=True))
    label = torch.tensor([1])
    assert label_loss(torch.tensor([logits]), label, smoothing).item() == pytest.approx(expected)
    assert label_loss(torch.tensor([logits]), label, 0.0).item() == pytest.approx(-math.log(softmax(logits)[1]))


@pytest.mark.parametrize(("classes", "smoothing", "surest"), [(10, 0.1, 0.91), (100, 0.1, 0.901), (4, 0.0, 1.0)])
def test_smoothed_labels_teach_no_more_than_the_surest_label(classes: int, smoothing: float, surest: float) -> None:
    assert surest_label(classes, smoothing) == pytest.approx(surest)
    probability = torch.full((1, classes), max(1 - surest, 1e-30) / (classes - 1), dtype=torch.float64)
    probability[0, 0] = surest
    logits = probability.log().requires_grad_()
    label_loss(logits, torch.tensor([0]), smoothing).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda x_BK, other_BK: discriminator_loss(x_BK[:, 0], x_BK[:, 1]),
        lambda x_BK, other_BK: generator_loss(x_BK[:, 0]),
        lambda x_BK, other_BK: information_maximisation_loss(x_BK[:, 0], other_BK[:, 0].sigmoid()),
        lambda x_BK, other_BK: image_loss(x_BK[:, None, None], other_BK[:, None, None]),
        lambda x_BK, other_BK: kl_loss(x_BK, other_BK, 3.0),
        lambda x_BK, other_BK: label_loss(x_BK, other_BK.argmax(1), 0.1),
    ],
    ids=["discriminator", "generator", "information maximisation", "image", "kl", "label"],
)
def test_gradients_are_those_of_finite_differences(
    loss_of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    rng = torch.Generator().manual_seed(0)
    x_BK = torch.randn(4, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    other_BK = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss_of(x, other_BK), x_BK)
