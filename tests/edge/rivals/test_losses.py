"""The rivals' losses against numbers worked out with `math` alone, and their gradients against finite differences.

B batch, K classes.
"""

import math

import pytest
import torch

from edge.answer_terms import LossTerm, answer_term
from edge.losses import kl_loss
from edge.rivals import al, dafl_proxy, dkd, kn, ml
from shared.protocol import LABEL, LOGITS
from tests.edge.small import small_config

STUDENT = [[2.0, -1.0, 0.5], [0.0, 0.0, 1.0]]
TEACHER = [[3.0, 1.0, -4.0], [-1.0, 2.0, 2.5]]


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def both() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(STUDENT), torch.tensor(TEACHER)


def test_mimicking_compares_logits_without_their_means() -> None:
    def centred(row: list[float]) -> list[float]:
        return [value - sum(row) / 3 for value in row]

    pairs = [(centred(s), centred(t)) for s, t in zip(STUDENT, TEACHER, strict=True)]
    expected = sum((a - b) ** 2 for s, t in pairs for a, b in zip(s, t, strict=True)) / 6
    student, teacher = both()
    assert ml.mimic_loss(student, teacher).item() == pytest.approx(expected)
    assert ml.mimic_loss(student + 5, teacher).item() == pytest.approx(expected)  # no probability tells a constant


def test_the_decoupled_loss_weighs_the_target_and_the_others_apart() -> None:
    tau, expected = 2.0, 0.0
    for s, t in zip(STUDENT, TEACHER, strict=True):
        target = t.index(max(t))
        q, p = softmax([value / tau for value in s]), softmax([value / tau for value in t])
        tckd = kl([p[target], 1 - p[target]], [q[target], 1 - q[target]])
        others = [k for k in range(3) if k != target]
        nckd = kl([p[k] / (1 - p[target]) for k in others], [q[k] / (1 - q[target]) for k in others])
        expected += tau**2 * (1 * tckd + 8 * nckd) / 2
    assert dkd.decoupled_loss(*both(), tau).item() == pytest.approx(expected, rel=1e-5)


def test_with_the_teachers_own_weights_the_decoupled_parts_are_kl() -> None:
    """KL = TCKD + (1 - p_t) NCKD: the paper's equation 5, for one image."""
    student, teacher = torch.tensor(STUDENT[:1], dtype=torch.float64), torch.tensor(TEACHER[:1], dtype=torch.float64)
    share = 1 - teacher.softmax(1).max().item()
    with_nckd = dkd.decoupled_loss(student, teacher, 1.0).item()
    others = kl(softmax(TEACHER[0][1:]), softmax(STUDENT[0][1:]))
    assert with_nckd - 8 * others + share * others == pytest.approx(kl_loss(student, teacher, 1.0).item())


def test_where_the_target_has_all_of_the_probability_the_decoupled_loss_is_still_a_number() -> None:
    student = torch.tensor([[200.0, 0.0, 1.0]], requires_grad=True)
    loss = dkd.decoupled_loss(student, torch.tensor([[300.0, 1.0, 0.0]]), 1.0)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite() and student.grad is not None and student.grad.isfinite().all()


def test_knockoff_learns_the_probabilities_as_they_are_whatever_the_temperature() -> None:
    expected = -sum(
        p * math.log(q)
        for s, t in zip(STUDENT, TEACHER, strict=True)
        for p, q in zip(softmax(t), softmax(s), strict=True)
    )
    student, teacher = both()
    for tau in (1.0, 5.0):
        term = kn.answer_term(small_config(distillation={"temperature": tau}), LOGITS, 3)
        assert term(student, teacher, teacher.argmax(1)).item() == pytest.approx(expected / 2)
    of_labels = kn.answer_term(small_config(), LABEL, 3), answer_term(small_config(), LABEL, 3)
    ours, mekds = (term(student, teacher, teacher.argmax(1)).item() for term in of_labels)
    assert ours == mekds


def test_the_answer_term_compares_at_the_temperature_of_the_config() -> None:
    student, teacher = both()
    for tau in (1.0, 3.0):
        term = answer_term(small_config(distillation={"temperature": tau}), LOGITS, 3)
        assert term(student, teacher, teacher.argmax(1)).item() == kl_loss(student, teacher, tau).item()


def test_the_adversarial_loss_is_half_of_kl_and_the_discriminators_doubt() -> None:
    student, teacher = both()
    term = al.AdversarialTerm(small_config(distillation={"temperature": 2.0}), 3)
    loss = term(student, teacher, teacher.argmax(1)).item()
    with torch.no_grad():  # the discriminator as the update inside the call left it
        logits = term.discriminator(student - student.mean(1, keepdim=True)).flatten().tolist()
    deceived = sum(math.log(1 + math.exp(-logit)) for logit in logits) / len(logits)
    assert loss == pytest.approx(0.5 * kl_loss(student, teacher, 2.0).item() + 0.15 * deceived)


def test_the_adversarial_student_is_rewarded_for_looking_like_the_teacher() -> None:
    student_BK, teacher_BK = torch.randn(64, 3) - torch.tensor([6.0, 0.0, 0.0]), torch.randn(64, 3)
    term = al.AdversarialTerm(small_config(distillation={"temperature": 1.0}), 3)
    for _ in range(60):
        term(student_BK, teacher_BK, teacher_BK.argmax(1))
    moving_BK = student_BK.clone().requires_grad_()
    adversarial = term(moving_BK, teacher_BK, teacher_BK.argmax(1)) - al.KL_WEIGHT * kl_loss(moving_BK, teacher_BK, 1)
    (gradient_BK,) = torch.autograd.grad(adversarial, moving_BK)
    towards_BK = teacher_BK.mean(0) - student_BK.mean(0)
    assert (-gradient_BK * towards_BK).sum(1).mean() > 0  # downhill leads towards the teacher
    assert adversarial.item() > al.ADVERSARIAL_WEIGHT * math.log(2)  # and the discriminator is not deceived yet


def test_only_the_discriminator_learns_from_telling_the_two_apart() -> None:
    student_BK, teacher_BK = torch.randn(8, 3, requires_grad=True), torch.randn(8, 3)
    term = al.AdversarialTerm(small_config(), 3)
    before = [weight.clone() for weight in term.discriminator.parameters()]
    loss = term(student_BK, teacher_BK, teacher_BK.argmax(1))
    after = [weight.clone() for weight in term.discriminator.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    term.adam.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None for weight in term.discriminator.parameters()) and student_BK.grad is not None
    assert set(term.parts()) == {"logit discriminator", "logit discriminator's adam"}


def test_the_data_free_generator_wants_one_class_per_image_and_all_classes_together() -> None:
    logits = [[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]]
    one_hot = -sum(math.log(max(softmax(row))) for row in logits) / 2
    share = [(a + b) / 2 for a, b in zip(softmax(logits[0]), softmax(logits[1]), strict=True)]
    expected = one_hot + 5 * sum(p * math.log10(p) for p in share)
    assert dafl_proxy.generator_loss(torch.tensor(logits)).item() == pytest.approx(expected)
    sure_of_all, sure_of_one = 50 * torch.eye(3), 50 * torch.eye(3)[[0, 0, 0]]
    assert dafl_proxy.generator_loss(sure_of_all).item() == pytest.approx(-5 * math.log10(3))
    assert dafl_proxy.generator_loss(sure_of_one).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "loss", [ml.mimic_loss, kn.knockoff_loss, lambda student, teacher: dkd.decoupled_loss(student, teacher, 3.0)]
)
def test_gradients_are_those_of_finite_differences(loss: object) -> None:
    rng = torch.Generator().manual_seed(0)
    student_BK = torch.randn(4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    teacher_BK = torch.randn(4, 5, generator=rng, dtype=torch.float64)
    term = LossTerm(loss)  # type: ignore[arg-type]
    assert torch.autograd.gradcheck(lambda x: term(x, teacher_BK, teacher_BK.argmax(1)), student_BK)


def test_the_data_free_generators_gradient_is_that_of_finite_differences() -> None:
    logits_BK = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(dafl_proxy.generator_loss, logits_BK)
