"""The consistency term against numbers worked out with `math` alone, and what the private images do to a student.

B batch, K classes.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edge.config import Distillation
from edge.consistency import AverageStudent, ConsistencyTerm, consistency_loss
from edge.distillation import STAGE, distill
from edge.losses import surest_label
from edge.training import Curves, Watcher
from edge.transfer_set.journal import Images
from shared.augmentation import Augmentation
from shared.errors import Stopped
from tests.edge.small import K, Projection, digits, small_config

PRIVATE = digits().images[100:160]


def consistent(private: Images | None = PRIVATE, **changes: float) -> tuple[list[torch.Tensor], Curves]:
    config = small_config(distillation={"image_weight": 0, "consistency_weight": 1, "consistency_threshold": 0.1})
    config = config.model_copy(update={"distillation": config.distillation.model_copy(update=changes)})
    pairs = Projection().pairs(digits().images[:60])
    student, curves = distill(pairs, None, config, classes=K, augmentation=Augmentation(1), private=private)
    return [tensor.clone() for tensor in student.state_dict().values()], curves


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_only_images_of_which_the_average_is_sure_count_and_the_mean_is_over_all() -> None:
    logits = [[2.0, -1.0, 0.0], [0.5, 0.5, 3.0], [0.0, 1.0, 0.0]]
    sure = [[0.1, 0.9, 0.0], [0.05, 0.0, 0.95], [0.3, 0.4, 0.3]]

    def cross_entropy(row: list[float], label: int) -> float:
        return math.log(sum(math.exp(value) for value in row)) - row[label]

    expected = (cross_entropy(logits[0], 1) + cross_entropy(logits[1], 2)) / 3
    loss = consistency_loss(torch.tensor(logits), torch.tensor(sure), 0.9)
    assert loss.item() == pytest.approx(expected)
    assert consistency_loss(torch.tensor(logits), torch.tensor(sure), 0.96).item() == 0


def test_how_sure_is_measured_by_what_the_answers_let_a_student_be() -> None:
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    nn.init.zeros_(student[1].weight)  # type: ignore[arg-type]
    with torch.no_grad():
        student[1].bias.copy_(torch.tensor([0.85, 0.1, 0.05]).log())  # type: ignore[operator]
    config, losses = Distillation(consistency_threshold=0.9), []
    for surest in (1.0, surest_label(3, 0.1)):  # 0.85 is above 0.9 of the latter alone
        term = ConsistencyTerm(student, PRIVATE, config, surest)
        term.draw(4, torch.Generator().manual_seed(0))
        losses.append(term(torch.zeros(4, 3)).item())
    assert losses == [0, pytest.approx(math.log(3))]


def test_its_gradient_is_that_of_finite_differences() -> None:
    rng = torch.Generator().manual_seed(0)
    logits_BK = torch.randn(5, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    probability_BK = torch.randn(5, 3, generator=rng, dtype=torch.float64).mul(3).softmax(1)
    assert 0 < (probability_BK.amax(1) >= 0.8).sum() < 5
    assert torch.autograd.gradcheck(lambda x: consistency_loss(x, probability_BK, 0.8), logits_BK)


def test_the_average_follows_closely_at_first_and_then_with_its_decay() -> None:
    student = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(student[0].weight, 0.0)  # type: ignore[arg-type]
    average = AverageStudent(student, 0.9)
    nn.init.constant_(student[0].weight, 1.0)  # type: ignore[arg-type]
    student[1].running_mean.fill_(4.0)  # type: ignore[operator]
    average.update(done=0)  # 10 / 10 of the way
    assert average.model.state_dict()["0.weight"].item() == 1
    nn.init.constant_(student[0].weight, 2.0)  # type: ignore[arg-type]
    average.update(done=90)  # 10 / 100
    average.update(done=10_000)  # 1 - 0.9, although 10 / 10,010 is less
    assert average.model.state_dict()["0.weight"].item() == pytest.approx(1 + 0.1 + 0.1 * 0.9)
    assert average.model.state_dict()["1.running_mean"].item() == pytest.approx(4)
    assert not average.model.training and not any(p.requires_grad for p in average.model.parameters())


def test_the_average_judges_the_images_as_they_are_and_the_student_changed_ones() -> None:
    class Brightness(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(50.0))

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            bright_B = self.scale * x_BCHW.mean((1, 2, 3))
            return torch.stack([bright_B, -bright_B], 1)

    dark, bright = np.zeros((1, 1, 8, 8), np.uint8), np.full((1, 1, 8, 8), 255, np.uint8)
    config = small_config().distillation
    term = ConsistencyTerm(Brightness(), np.concatenate([dark, bright]), config, 1.0)
    x_BCHW = term.draw(20, torch.Generator().manual_seed(0))
    is_bright_B = x_BCHW.amax((1, 2, 3)) > 0
    assert set(is_bright_B.tolist()) == {True, False}
    right_BK = torch.stack([is_bright_B.float(), 1 - is_bright_B.float()], 1) * 40
    assert term(right_BK).item() == pytest.approx(0, abs=1e-6)
    assert term(-right_BK).item() == pytest.approx(40, rel=1e-4)


def test_a_student_learns_from_the_private_images_only_where_the_term_is_on() -> None:
    on, curves = consistent()
    other, _ = consistent(digits().images[200:260])
    assert not equal(on, other)
    assert [step for step, _ in curves["consistency term"]] == list(range(4, 13))  # from a fifth of 12 steps on
    off, curves = consistent(None, consistency_weight=0.0)
    assert equal(off, consistent(PRIVATE, consistency_weight=0.0)[0]) and not equal(on, off)
    assert "consistency term" not in curves


def test_private_images_are_turned_by_an_angle_of_their_own() -> None:
    on, still = consistent()[0], consistent(consistency_tilt=0.0)[0]
    assert equal(on, consistent(consistency_tilt=30.0)[0]) and not equal(on, still)
    assert not equal(on, consistent(tilt=30.0)[0]) and not equal(
        still, consistent(tilt=30.0, consistency_tilt=0.0)[0]
    )
    off, _ = consistent(None, consistency_weight=0.0)
    assert equal(off, consistent(None, consistency_weight=0.0, consistency_tilt=0.0)[0])


def test_private_images_are_changed_strongly_where_that_is_asked_for() -> None:
    assert not equal(consistent()[0], consistent(consistency_strong=True)[0])
    off = [consistent(None, consistency_weight=0.0, consistency_strong=strong)[0] for strong in (True, False)]
    assert equal(*off)  # the paid ones are not


@pytest.mark.parametrize("steps", [1, 7])
def test_a_stopped_run_with_the_term_ends_as_the_undisturbed_one(steps: int, tmp_path: Path) -> None:
    config = small_config(distillation={"image_weight": 0, "consistency_weight": 1, "consistency_threshold": 0.1})
    pairs, state, seen = Projection().pairs(digits().images[:60]), tmp_path / "state", list[int]()
    watcher = Watcher(
        should_stop=lambda: len(seen) >= steps, on_step=lambda stage, done, total, values: seen.append(done)
    )
    with pytest.raises(Stopped, match=f"Stopped in {STAGE} at step {steps}"):
        distill(
            pairs,
            None,
            config,
            classes=K,
            augmentation=Augmentation(1),
            private=PRIVATE,
            state=state,
            watcher=watcher,
        )
    student, curves = distill(
        pairs, None, config, classes=K, augmentation=Augmentation(1), private=PRIVATE, state=state
    )
    undisturbed, undisturbed_curves = consistent()
    assert equal(list(student.state_dict().values()), undisturbed) and curves == undisturbed_curves
