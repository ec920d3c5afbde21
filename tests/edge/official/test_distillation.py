from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edge.config import Config
from edge.official.distillation import OfficialAlignment, batches, distill
from edge.official.losses import image_loss, kl_loss
from edge.official.networks import OfficialGenerator
from edge.training import Watcher
from edge.transfer_set.journal import TransferSet
from shared import pixels
from shared.errors import BudgetTooSmall, InvalidConfig, Stopped
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from shared.seeding import seed_initial_weights
from tests.edge.official.asking import STEP_2, KeyedTeacher, an_oracle, official_config
from tests.edge.small import K, Projection


@pytest.fixture
def generator() -> OfficialGenerator:
    """Untrained, but louder than new, so that no two images are the same bytes."""
    seed_initial_weights(0, "generator of a test")
    made = OfficialGenerator(K, (1, 8, 8), width=8)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(5)
    return made


def equal(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def alignment(generator: OfficialGenerator, teacher: Projection, config: Config) -> OfficialAlignment:
    return OfficialAlignment(generator, teacher, config, channels=1)


@pytest.mark.parametrize(
    ("budget", "batch", "expected"),
    [
        (60, 8, STEP_2),
        (103, 8, [8] * 9),
        (104, 8, [8] * 8 + [9]),  # a single image is no batch
        (10, 8, [7]),
        (4, 2, [3]),
    ],
)
def test_the_rest_of_the_budget_is_spent_to_the_last_query(budget: int, batch: int, expected: list[int]) -> None:
    config = official_config(budget=budget, distillation={"batch": batch})
    assert batches(config) == expected and sum(expected) == budget - config.im_queries


@pytest.mark.parametrize("output", [LOGITS, PROBABILITIES, LABEL])
def test_every_step_asks_about_a_fresh_batch_and_learns_from_it_once(
    generator: OfficialGenerator, output: str
) -> None:
    teacher = Projection(output)
    learning = alignment(generator, teacher, official_config(response="top1" if output == LABEL else "soft"))
    before = [tensor.clone() for tensor in generator.state_dict().values()]
    for step in range(len(learning.batches)):
        learning.step(step)
        assert len(teacher.questions) == step + 1
    assert [(stage, len(images)) for stage, images in teacher.questions] == [("distillation", n) for n in STEP_2]
    asked = np.concatenate([images for _, images in teacher.questions])
    assert len({image.tobytes() for image in asked}) == len(asked) == 42
    assert all(torch.equal(old, new) for old, new in zip(before, generator.state_dict().values(), strict=True))
    assert learning.student.training and not generator.training


@pytest.mark.parametrize("output", [LOGITS, LABEL])
def test_both_terms_take_the_answers_as_logits_whatever_they_are(generator: OfficialGenerator, output: str) -> None:
    teacher = Projection(output)
    learning = alignment(generator, teacher, official_config(response="top1" if output == LABEL else "soft"))
    outputs = list[torch.Tensor]()
    learning.student.register_forward_hook(lambda module, given, made: outputs.append(made.detach()))
    values = learning.step(0)
    ((_, images),), (student_BK,) = teacher.questions, outputs
    logits = teacher.logits(images)
    teacher_BK = torch.from_numpy(np.eye(K, dtype=np.float32)[logits.argmax(1)] if output == LABEL else logits)
    grafted = (generator(logits_BK / 5) for logits_BK in (student_BK, teacher_BK))
    assert values["answer term"] == pytest.approx(kl_loss(student_BK, teacher_BK, 5.0).item(), rel=1e-5)
    assert values["pixel term"] == pytest.approx(image_loss(*grafted).item(), rel=1e-4)


def test_a_step_is_one_of_sgd_with_momentum_on_the_weighted_sum(generator: OfficialGenerator) -> None:
    config = official_config(distillation={"image_weight": 0.0, "kl_weight": 2.0, "learning_rate": 0.1})
    teacher = Projection()
    learning = alignment(generator, teacher, config)
    reference = alignment(generator, Projection(), config).student
    learning.step(0)
    ((_, images),) = teacher.questions
    loss = 2 * kl_loss(reference(pixels.from_array(images)), torch.from_numpy(teacher.logits(images)), 5.0)
    loss.backward()  # type: ignore[no-untyped-call]
    for old, new in zip(reference.parameters(), learning.student.parameters(), strict=True):
        assert old.grad is not None
        expected = old - 0.1 * (old.grad + config.distillation.weight_decay * old)
        torch.testing.assert_close(new, expected, rtol=1e-4, atol=1e-6)
    (group,) = learning.sgd.param_groups
    assert group["momentum"] == 0.9 and not group["nesterov"]


def test_a_weight_of_zero_switches_its_term_off(generator: OfficialGenerator) -> None:
    for weights, terms in (
        ({"image_weight": 1.0, "kl_weight": 0.0}, {"pixel term"}),
        ({"image_weight": 0.0, "kl_weight": 1.0}, {"answer term"}),
    ):
        assert alignment(generator, Projection(), official_config(distillation=weights)).step(0).keys() == terms


def test_the_last_student_comes_back_and_nothing_is_held_out(generator: OfficialGenerator, tmp_path: Path) -> None:
    config = official_config()
    learning = alignment(generator, Projection(), config)
    for step in range(len(learning.batches)):
        learning.step(step)
    with an_oracle(KeyedTeacher(), tmp_path) as oracle:
        place = oracle.place("distillation")
        student, curves = distill(generator, oracle.ask, config, channels=1, place=place)
    assert equal(student, learning.student) and not student.training
    assert curves.keys() == {"answer term", "pixel term"} and len(curves["answer term"]) == 6


@pytest.mark.parametrize(("steps", "batch"), [(0, 250), (3, 3), (5, 250)])
def test_a_stopped_training_goes_on_with_the_next_request_and_ends_as_the_undisturbed_one(
    generator: OfficialGenerator, tmp_path: Path, steps: int, batch: int
) -> None:
    with an_oracle(KeyedTeacher(), tmp_path / "whole") as oracle:
        place = oracle.place("distillation")
        student, curves = distill(generator, oracle.ask, official_config(), channels=1, place=place)
    teacher, seen = KeyedTeacher(), list[int]()
    stop = Watcher(should_stop=lambda: len(seen) >= steps, on_step=lambda stage, done, *_: seen.append(done))
    for watcher in (stop, Watcher()):
        with an_oracle(teacher, tmp_path / "stopped", batch) as oracle:
            try:
                resumed, resumed_curves = distill(
                    generator,
                    oracle.ask,
                    official_config(),
                    channels=1,
                    place=oracle.place("distillation"),
                    state=tmp_path / "state",
                    watcher=watcher,
                )
            except Stopped:
                assert watcher is stop
    assert equal(resumed, student) and resumed_curves == curves
    assert teacher.asked == 42 and len(set(teacher.keys)) == len(teacher.keys)


def test_a_budget_that_is_gone_is_said_and_an_unknown_student_refused(generator: OfficialGenerator) -> None:
    def poor(stage: str, images: NDArray[np.uint8]) -> TransferSet:
        return Projection().pairs(images[:1])

    with pytest.raises(BudgetTooSmall, match="ended in distillation, with 1 of the 8 answers"):
        OfficialAlignment(generator, poor, official_config(), channels=1).step(0)
    with pytest.raises(InvalidConfig, match="resnet7"):
        alignment(generator, Projection(), official_config(student="resnet7"))
