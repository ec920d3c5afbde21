import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edge.config import Config
from edge.distillation import (
    STAGE,
    Alignment,
    Best,
    ImageTerm,
    distill,
    drawn_images,
    fill_pool,
    kept_agreement,
    predict,
    split,
)
from edge.gan import Generator
from edge.training import Curves, Watcher
from edge.transfer_set.journal import TransferSet
from shared.augmentation import Augmentation
from shared.errors import InvalidConfig, Stopped
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from shared.seeding import seed_initial_weights
from tests.edge.small import K, Projection, digits, small_config, whole_digits

OUTPUTS = [LOGITS, PROBABILITIES, LABEL]


@pytest.fixture
def generator() -> Generator:
    """Untrained, in evaluation mode; any smooth map from latents to images will do."""
    seed_initial_weights(0, "generator of a test")
    return Generator(K, (1, 8, 8), width=8).eval()


def pool(output: str = LOGITS, images: NDArray[np.uint8] | None = None) -> TransferSet:
    """Digits with the answers of a teacher of known maths."""
    return Projection(output).pairs(digits().images[:60] if images is None else images)


def with_another_answer(pairs: TransferSet, place: int) -> TransferSet:
    answers = np.array(pairs.answers)
    answers[place] = answers[place][::-1] + 1 if answers.ndim > 1 else (answers[place] + 1) % K
    return TransferSet(pairs.images, answers, pairs.output)


def trained(pairs: TransferSet, generator: Generator | None, config: Config) -> tuple[list[torch.Tensor], Curves]:
    """Weights after the last step, whichever was selected, and curves."""
    alignment = Alignment(pairs, generator, config, classes=K, augmentation=Augmentation(1))
    curves: Curves = {}
    for done in range(config.distillation.steps):
        for name, value in alignment.step(done).items():
            curves.setdefault(name, []).append((done + 1, value))
    return [tensor.clone() for tensor in alignment.student.state_dict().values()], curves


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def state(model: nn.Module) -> list[torch.Tensor]:
    return list(model.state_dict().values())


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_student_learns_a_teacher_of_known_maths_from_every_kind_of_answer(
    generator: Generator, output: str
) -> None:
    teacher, images = Projection(output), np.concatenate([digits().images, whole_digits().cloud.images])
    config = small_config(distillation={"steps": 120, "batch": 64, "evaluate_every": 60})
    student, curves = distill(teacher.pairs(images), generator, config, classes=K, augmentation=Augmentation(0))
    unseen = whole_digits().test.images
    agreement = (predict(student, unseen).argmax(1).numpy() == teacher.logits(unseen).argmax(1)).mean()
    assert agreement > 0.5  # of ten classes
    answer_term = [value for _, value in curves["answer term"]]
    assert np.mean(answer_term[-20:]) < 0.7 * np.mean(answer_term[:20])


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_weight_of_zero_switches_its_term_off(generator: Generator, output: str) -> None:
    weights = {"both": (0.01, 1.0), "image only": (0.01, 0.0), "answers only": (0.0, 1.0)}
    students, curves = {}, {}
    for name, (image_weight, kl_weight) in weights.items():
        config = small_config(distillation={"image_weight": image_weight, "kl_weight": kl_weight})
        students[name], curves[name] = trained(pool(output), generator, config)
    held_out = {"held-out agreement", "held-out distance"}
    assert curves["both"].keys() - held_out == {"answer term", "image term"}
    assert curves["image only"].keys() - held_out == {"image term"}
    assert curves["answers only"].keys() - held_out == {"answer term"}
    assert not any(
        equal(students[one], students[other])
        for one, other in [("both", "image only"), ("both", "answers only"), ("image only", "answers only")]
    )


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_update_follows_both_terms_by_their_weights(generator: Generator, output: str) -> None:
    def moved_by(kl_weight: float, image_weight: float) -> torch.Tensor:
        step = {"optimizer": "sgd", "learning_rate": 1.0, "weight_decay": 0.0}
        config = small_config(distillation=step | {"kl_weight": kl_weight, "image_weight": image_weight})
        alignment = Alignment(pool(output), generator, config, classes=K, augmentation=Augmentation(1))
        before = flat(alignment.student)
        alignment.step(0)
        return flat(alignment.student) - before

    by_answers, by_images = moved_by(1, 0), moved_by(0, 1)
    assert by_answers.norm() > 0 and by_images.norm() > 0
    torch.testing.assert_close(moved_by(2, 0.03), 2 * by_answers + 0.03 * by_images, rtol=1e-4, atol=1e-5)


def test_the_image_term_is_the_distance_of_what_is_made_of_both_logits_over_tau(generator: Generator) -> None:
    teacher_NK, student_BK = torch.randn(5, K), torch.randn(2, K, requires_grad=True)
    pick_B = torch.tensor([3, 1])
    term = ImageTerm(generator, teacher_NK, LOGITS, temperature=4.0)(student_BK, pick_B)
    apart_BCHW = generator(student_BK / 4) - generator(teacher_NK[[3, 1]] / 4)
    by_image = [image_CHW.abs().sum().item() for image_CHW in apart_BCHW]
    assert term.item() == pytest.approx(sum(by_image) / 2, rel=1e-5)
    (gradient_BK,) = torch.autograd.grad(term, student_BK)
    assert gradient_BK.abs().sum(1).min() > 0


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_image_term_has_the_gradients_of_finite_differences(generator: Generator, output: str) -> None:
    rng = torch.Generator().manual_seed(0)
    student_BK = torch.randn(3, K, generator=rng, dtype=torch.float64, requires_grad=True)
    teacher_NK = torch.randn(4, K, generator=rng, dtype=torch.float64)
    target_NK = teacher_NK.softmax(1) if output == LABEL else teacher_NK
    term = ImageTerm(copy.deepcopy(generator).double(), target_NK, output, temperature=4.0)
    assert torch.autograd.gradcheck(lambda logits: term(logits, torch.tensor([3, 0, 1])), student_BK)


def test_without_the_image_term_the_generator_does_not_matter(generator: Generator) -> None:
    other = copy.deepcopy(generator)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(3)
    for image_weight, same in ((0.0, True), (0.01, False)):
        config = small_config(distillation={"image_weight": image_weight})
        one, two = (trained(pool(), generated_by, config)[0] for generated_by in (generator, other))
        assert equal(one, two) == same
        if same:
            assert equal(one, trained(pool(), None, config)[0])


@pytest.mark.parametrize("output", OUTPUTS)
def test_held_out_answers_select_and_never_train(generator: Generator, output: str) -> None:
    config, pairs = small_config(distillation={"steps": 20, "batch": 64}), pool(output)
    learnt, held_out = split(len(pairs), config.distillation.held_out, config.seed)
    before, curves = trained(pairs, generator, config)
    after, other_curves = trained(with_another_answer(pairs, int(held_out[0])), generator, config)
    assert equal(before, after)
    assert curves["held-out distance"] != other_curves["held-out distance"]
    after, _ = trained(with_another_answer(pairs, int(learnt[0])), generator, config)
    assert not equal(before, after)


@pytest.mark.parametrize(("count", "share", "held_out"), [(100, 0.1, 10), (9, 0.1, 1), (2, 0.1, 1), (11, 0.4, 4)])
def test_the_pool_is_split_without_rest_or_overlap(count: int, share: float, held_out: int) -> None:
    learn, select = split(count, share, seed=3)
    assert sorted([*learn.tolist(), *select.tolist()]) == list(range(count))
    assert len(select) == held_out
    assert torch.equal(select, split(count, share, seed=3)[1])


def test_another_seed_holds_out_others() -> None:
    assert split(100, 0.1, seed=0)[1].tolist() != split(100, 0.1, seed=1)[1].tolist()


@pytest.mark.parametrize("output", OUTPUTS)
def test_the_grafted_generator_stays_as_step_1_left_it(generator: Generator, output: str) -> None:
    generator.train().requires_grad_(True)
    before = [tensor.clone() for tensor in state(generator)]
    distill(pool(output), generator, small_config(), classes=K, augmentation=Augmentation(1))
    assert equal(before, state(generator))
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_the_same_seed_gives_the_same_student_and_another_seed_another(generator: Generator) -> None:
    one, other, reseeded = (
        state(distill(pool(), generator, small_config(seed=s), classes=K, augmentation=Augmentation(1))[0])
        for s in (4, 4, 5)
    )
    assert equal(one, other) and not equal(one, reseeded)


@pytest.mark.parametrize(
    ("steps", "changes"), [(0, {}), (5, {}), (11, {}), (5, {"student": "torchvision/mobilenet_v2"})]
)  # the last one has dropout, which draws from torch's global generator
def test_a_stopped_run_ends_as_the_undisturbed_one(
    generator: Generator, tmp_path: Path, steps: int, changes: dict[str, Any]
) -> None:
    config = small_config(**changes)
    student, curves = distill(pool(), generator, config, classes=K, augmentation=Augmentation(1))
    seen: list[int] = []
    kept = tmp_path / "state"
    watcher = Watcher(
        should_stop=lambda: len(seen) >= steps, on_step=lambda stage, done, total, values: seen.append(done)
    )
    with pytest.raises(Stopped, match=f"Stopped in {STAGE} at step {steps} of 12"):
        distill(pool(), generator, config, classes=K, augmentation=Augmentation(1), state=kept, watcher=watcher)
    resumed, resumed_curves = distill(pool(), generator, config, classes=K, augmentation=Augmentation(1), state=kept)
    assert equal(state(resumed), state(student)) and resumed_curves == curves


def test_the_student_that_agreed_best_is_kept_and_of_equals_the_nearer() -> None:
    def student(weight: float) -> nn.Module:
        layer = nn.Linear(1, 1)
        nn.init.constant_(layer.weight, weight)
        return layer

    best = Best(student(0))
    kept = []
    for number, (agreement, distance) in enumerate([(0.5, 9), (0.4, 1), (0.5, 8), (0.5, 8), (0.6, 20), (0.6, 21)], 1):
        best.offer(student(number), agreement, distance)
        kept.append(best.student.weight.item())  # type: ignore[operator]
    assert kept == [1, 1, 3, 3, 5, 5]
    resumed = Best(student(0))
    resumed.load_state_dict(best.state_dict())
    resumed.offer(student(9), 0.6, 20.5)
    assert resumed.student.weight.item() == 5  # type: ignore[operator]


def test_the_student_that_comes_back_has_the_best_held_out_score_of_the_last_fifth(generator: Generator) -> None:
    config, pairs = small_config(distillation={"steps": 30, "evaluate_every": 2}), pool()
    student, curves = distill(pairs, generator, config, classes=K, augmentation=Augmentation(1))
    _, held_out = split(len(pairs), config.distillation.held_out, config.seed)
    agreed = predict(student, pairs.images[held_out]).argmax(1).numpy()
    agreement = (agreed == pairs.answers[held_out].argmax(1)).mean()
    late = [value for step, value in curves["held-out agreement"] if step >= 24]
    assert len(late) == 4 and agreement == pytest.approx(max(late)) == kept_agreement(curves, 30)
    assert not student.training


def test_a_lucky_look_before_the_last_fifth_selects_nothing() -> None:
    curves: Curves = {"held-out agreement": [(10, 0.9), (79, 0.8), (80, 0.5), (90, 0.6), (100, 0.55)]}
    assert kept_agreement(curves, 100) == 0.6
    assert kept_agreement({}, 100) is None


def test_every_student_is_looked_at_after_the_last_step(generator: Generator) -> None:
    _, curves = distill(
        pool(),
        generator,
        small_config(distillation={"steps": 5, "evaluate_every": 3}),
        classes=K,
        augmentation=Augmentation(1),
    )
    assert [step for step, _ in curves["held-out agreement"]] == [3, 5]


def test_the_pool_is_made_by_the_generator_from_the_prior(generator: Generator) -> None:
    teacher = Projection()
    pairs = fill_pool(generator, teacher, 40, small_config())
    ((stage, asked),) = teacher.questions
    assert stage == STAGE and asked.dtype == np.uint8 and asked.shape == (40, 1, 8, 8)
    assert (pairs.images == asked).all()
    again, reseeded = Projection(), Projection()
    fill_pool(generator, again, 40, small_config())
    fill_pool(generator, reseeded, 40, small_config(seed=1))
    assert (again.questions[0][1] == asked).all() and (reseeded.questions[0][1] != asked).any()


@pytest.mark.parametrize("queries", [1, 7, 33, 50])
def test_fewer_questions_are_the_first_of_more(generator: Generator, queries: int) -> None:
    more = drawn_images(generator, 57, small_config())
    assert (drawn_images(generator, queries, small_config()) == more[:queries]).all()


def test_predicting_changes_nothing(generator: Generator) -> None:
    student = Alignment(pool(), generator, small_config(), classes=K, augmentation=Augmentation(1)).student
    before = [tensor.clone() for tensor in state(student)]
    images = digits().images
    student.train()
    logits_NK = predict(student, images)
    assert student.training and equal(before, state(student)) and not logits_NK.requires_grad
    torch.testing.assert_close(predict(student.eval(), images[:7]), logits_NK[:7])


def test_targets_that_only_differ_by_a_constant_teach_the_same_from_probabilities(generator: Generator) -> None:
    class Lifted(Projection):
        def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            return super().logits(images) + np.float32(3)

    images = digits().images[:60]
    for output, same in ((PROBABILITIES, True), (LOGITS, False)):
        one, other = (
            trained(teacher(output).pairs(images), generator, small_config(distillation={"steps": 3}))[1]
            for teacher in (Projection, Lifted)
        )
        close = [
            math.isclose(a, b, rel_tol=1e-3)
            for (_, a), (_, b) in zip(one["image term"], other["image term"], strict=True)
        ]
        assert close == [same] * 3


def test_an_unknown_architecture_is_refused(generator: Generator) -> None:
    changes: dict[str, Any] = {"student": "resnet7"}
    with pytest.raises(InvalidConfig, match="resnet7"):
        distill(pool(), generator, small_config(**changes), classes=K, augmentation=Augmentation(1))
