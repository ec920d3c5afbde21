"""How the learning rate goes, and that the config chooses what updates the student."""

import pytest
import torch
from torch import nn

from edge.optimizers import optimizer, thirds, warmed_up_cosine
from tests.edge.small import small_config


def test_the_learning_rate_warms_up_and_ends_at_zero() -> None:
    rates = [warmed_up_cosine(done, 100) for done in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[4] == pytest.approx(0.5)
    assert rates[9] == 1 == max(rates)
    assert rates[54] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[:10] == sorted(rates[:10]) and rates[9:] == sorted(rates[9:], reverse=True)
    assert warmed_up_cosine(0, 1) == pytest.approx(0, abs=1e-12)


def test_the_released_learning_rate_falls_to_a_tenth_after_each_third() -> None:
    assert [thirds(done, 240) for done in (0, 79, 80, 159, 160, 239)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert thirds(0, 1) == 1


def test_the_config_chooses_what_updates_the_student() -> None:
    student = nn.Linear(1, 1, bias=False)
    nn.init.constant_(student.weight, 2.0)
    step = small_config(distillation={"optimizer": "sgd", "learning_rate": 0.5, "weight_decay": 0.1}).distillation
    sgd, schedule = optimizer(student, step)
    for weight in (2 - 0.5 * (1 + 0.1 * 2), None):
        sgd.zero_grad()
        student(torch.ones(1, 1)).sum().backward()
        sgd.step()
        if weight is not None:
            assert student.weight.item() == pytest.approx(weight)
    velocity = 0.9 * 1.2 + (1 + 0.1 * 1.4)
    assert student.weight.item() == pytest.approx(1.4 - 0.5 * velocity) and schedule is thirds
    adamw, schedule = optimizer(student, small_config().distillation)
    assert isinstance(adamw, torch.optim.AdamW) and schedule is warmed_up_cosine
