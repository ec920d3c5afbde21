"""What each rival asks about: how many, of which images, and that a stop in between changes nothing."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edge.asker import Asker, evenly
from edge.methods import METHODS, check_images
from edge.presets import PRESETS, RIVALS
from edge.rivals import am, augmented, dafl_proxy, db3kd, kd, noise
from edge.run import run
from edge.run_folder import RunFolder
from edge.sends import Sends
from edge.training import Watcher
from edge.transfer_set.journal import Images, Journal, TransferSet, digests
from shared.errors import InvalidConfig, Stopped
from shared.protocol import LABEL, LOGITS
from tests.edge.small import K, Projection, digits, small_config
from tests.edge.transfer_set.storing import FreeTeacher


class Bright(nn.Module):
    """A student that is the surer of class 0 the brighter the image."""

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return F.one_hot(torch.zeros(len(x_BCHW), dtype=torch.long), K) * (x_BCHW.mean((1, 2, 3)) + 1)[:, None] * 20

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))


def asker(teacher: Projection, queries: int, learn: Callable[[TransferSet], nn.Module] | None = None) -> Asker:
    config = small_config(distillation={"image_weight": 0.0})
    return Asker(digits(), None, queries, config, teacher, Watcher(), learn or (lambda pairs: Bright()))


def asked(teacher: Projection) -> Images:
    return np.concatenate([images for _, images in teacher.questions])


def private() -> set[bytes]:
    return set(digests(digits().images))


def test_noise_is_evenly_spread_over_all_pixels_and_values() -> None:
    teacher = Projection()
    noise.fill_pool(asker(teacher, 400))
    pixels = asked(teacher)
    assert pixels.shape == (400, 1, 8, 8) and pixels.dtype == np.uint8
    assert abs(pixels.mean() - 127.5) < 2 and pixels.min() == 0 and pixels.max() == 255
    assert np.abs(pixels.mean(0) - 127.5).max() < 20 and len(set(digests(pixels))) == 400


def test_changed_copies_ask_about_every_image_once_before_any_twice() -> None:
    teacher = Projection()
    plain = asker(teacher, 700)
    local = replace(plain.local, augmentation=plain.local.augmentation._replace(shift=0))
    augmented.fill_pool(replace(plain, local=local))
    copies = digests(asked(teacher))
    assert len(copies) == 700 and set(copies) == private() and len(set(copies[:500])) == len(private())
    moved = Projection()
    augmented.fill_pool(asker(moved, 500))
    assert 0 < len(set(digests(asked(moved))) & private()) < 200  # a ninth of the shifts by a pixel are none


def test_active_mixup_asks_about_half_real_images_and_then_about_mixtures_it_is_least_sure_of() -> None:
    teacher = Projection()
    am.fill_pool(asker(teacher, 100))
    sizes = [len(images) for _, images in teacher.questions]
    assert sizes == am.sizes(100, 500) == [50, 17, 17, 16]
    real, mixed = teacher.questions[0][1], np.concatenate([images for _, images in teacher.questions[1:]])
    assert set(digests(real)) < private() and not set(digests(mixed)) & private()
    assert len(set(digests(mixed))) == 50
    assert mixed.mean() < real.mean() - 5  # the student is less sure of dark ones


def test_a_mixture_lies_between_its_images_and_of_a_pair_the_least_sure_one_counts() -> None:
    dark, bright = np.full((1, 1, 8, 8), 10, np.uint8), np.full((1, 1, 8, 8), 210, np.uint8)
    images = np.concatenate([dark, bright])
    best, sure = am.least_sure(Bright(), images, np.array([0, 1]), np.array([1, 0]))
    assert set(best[0].ravel()) == {round(0.7 * 10 + 0.3 * 210)} == set(best[1].ravel())
    assert sure[0] == sure[1]
    assert am.WEIGHTS == (0.3, 0.34, 0.38, 0.42, 0.46, 0.5, 0.54, 0.58, 0.62, 0.66, 0.7)


@pytest.mark.parametrize("images", [30, 3000])
def test_pairs_are_different_and_none_is_used_again(images: int) -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = am.candidates(images, 100, set(), rng)
    used = set(zip(first.tolist(), second.tolist(), strict=True))
    assert len(used) == 100 and all(one < other < images for one, other in used)
    again = am.candidates(images, 10**4 if images == 30 else 100, used, rng)
    fresh = set(zip(again[0].tolist(), again[1].tolist(), strict=True))
    assert not fresh & used and len(fresh) == (30 * 29 // 2 - 100 if images == 30 else 100)


def test_the_data_free_generator_comes_to_make_what_the_proxy_is_sure_of() -> None:
    """With a proxy whose class is the brightest of ten pixels, the images come to have one that is bright."""

    class BrightestPixel(nn.Module):
        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            return x_BCHW.flatten(1)[:, :K] * 3

    teacher = Projection()
    few = asker(teacher, 160, lambda pairs: BrightestPixel())
    longer = few.config.deprivatization.model_copy(update={"steps": 120, "batch": 64})
    config = few.config.model_copy(update={"deprivatization": longer})
    dafl_proxy.fill_pool(replace(few, config=config))
    rounds = [images.reshape(len(images), -1)[:, :K] for _, images in teacher.questions]
    gap = [float(np.mean(np.sort(pixels)[:, -1].astype(float) - np.sort(pixels)[:, -2])) for pixels in rounds]
    assert len(rounds) == dafl_proxy.ROUNDS and np.mean(gap[-3:]) > 2 * gap[0]
    assert len(set(np.concatenate(rounds[-3:]).argmax(1))) > 3


def test_walks_find_where_a_class_begins() -> None:
    """A teacher that knows two classes, dark and bright: the boundary is where the mean is 100."""

    class Threshold(Projection):
        def logits(self, images: Images) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            bright = (images.reshape(len(images), -1).mean(1) >= 100).astype(np.float32)
            return np.asarray(np.eye(K, dtype=np.float32)[bright.astype(int)] * 5, np.float32)

    levels = np.array([0, 40, 160, 200], np.uint8)
    images = np.repeat(levels, 64).reshape(4, 1, 8, 8)
    teacher = Threshold(LABEL)
    local = digits().__class__("digits", K, digits().augmentation, images)
    config = small_config(distillation={"image_weight": 0.0, "temperature": 2.0})
    made = db3kd.fill_pool(replace(asker(teacher, 500), local=local, config=config))
    order = made.images.reshape(4, -1)[:, 0].argsort()
    assert made.output == LOGITS and made.images[order].reshape(4, -1)[:, 0].tolist() == levels.tolist()
    unit = 8 * 2 / 255  # L2 norm of a grey level's difference over 64 pixels, in [-1, 1]
    for row, level, label in zip(made.answers[order], levels, (0, 0, 1, 1), strict=True):
        other = 1 - label
        way = abs(100 - int(level))  # from the image to the boundary
        assert row[other] == pytest.approx(2 / (way * unit), rel=0.1)  # known to a 64th of the way
        assert row[label] == row.sum() - row[label] and row[2:].tolist() == [0] * 8


def test_who_does_not_walk_gets_the_distance_to_the_class_times_the_walkers_share() -> None:
    teacher = Projection(LABEL)
    made = db3kd.fill_pool(asker(teacher, 200))
    sizes = [len(images) for _, images in teacher.questions]
    assert sizes[0] == 146 == len(made) and len(sizes) == 1 + db3kd.STEPS  # one walks, 9 ways of 6 steps
    assert sum(sizes) <= 200 and set(sizes[1:]) == {sizes[1]} and sizes[1] <= 9
    assert (made.answers.argmax(1) == teacher.pairs(made.images).answers).all()
    assert np.isfinite(made.answers).all() and (made.answers >= 0).all()


def test_distances_to_the_nearest_image_of_a_class_are_those_of_a_loop() -> None:
    images, labels = digits().images[:40], np.arange(40) % 3
    places, distances = db3kd.nearest_of_every_class(images, labels, 4)
    flat = images.reshape(40, -1) / 127.5
    for n, k in ((0, 1), (7, 2), (39, 1)):
        others = [m for m in range(40) if labels[m] == k]
        expected = min(math.dist(flat[n], flat[m]) for m in others)
        assert distances[n, k] == pytest.approx(expected, rel=1e-3)
        assert math.dist(flat[n], flat[places[n, k]]) == pytest.approx(expected, rel=1e-3)
    assert np.isinf(distances[0, 0]) and np.isinf(distances[:, 3]).all()


def test_a_small_distance_to_a_class_is_a_large_logit_and_the_own_class_has_their_sum() -> None:
    logits = db3kd.robustness_logits(np.array([[np.inf, 2.0, 4.0, np.inf]], np.float32), np.array([0]))
    assert logits.tolist() == [[0.75, 0.5, 0.25, 0.0]]


@pytest.mark.parametrize("queries", [2, 3, 4, 7, 100])
def test_rounds_are_as_equal_as_can_be_and_never_empty(queries: int) -> None:
    sizes = evenly(queries, 4)
    assert sum(sizes) == queries and min(sizes) >= 1 and max(sizes) - min(sizes) <= 1 and len(sizes) <= 4
    assert sum(am.sizes(queries, 40)) == queries == sum(dafl_proxy.sizes(queries))
    assert queries <= am.most(am.sizes(queries, 40)[0]), "there are as many pairs as are asked about"


@pytest.mark.parametrize("name", ["am", "dafl-proxy", "db3kd"])
@pytest.mark.parametrize("budget", [2, 3, 4, 5])
def test_the_smallest_budgets_are_enough(name: str, budget: int, tmp_path: Path) -> None:
    config = PRESETS[name](small_config(budget=budget, response=response(name)))
    results = run(config, teacher_for(name), tmp_path / "run")
    assert results["stages"]["distillation"]["queries"] == budget


def response(name: str) -> str:
    return METHODS[name].responses[0]


def teacher_for(name: str) -> FreeTeacher:
    return FreeTeacher(LABEL if response(name) == "top1" else LOGITS)


class Exhausted(Projection):
    """A key that somebody else has spent."""

    def pairs(self, images: Images) -> TransferSet:
        answered = super().pairs(images)
        return TransferSet(images[:0], answered.answers[:0], self.output)


@pytest.mark.parametrize("name", RIVALS)
def test_a_key_that_others_have_spent_leaves_nothing_to_learn_from(name: str) -> None:
    nobody = Exhausted(LABEL if response(name) == "top1" else LOGITS)
    made = METHODS[name].fill_pool(asker(nobody, 100))
    assert nobody.questions and not made


@pytest.mark.parametrize("name", RIVALS)
def test_a_rival_asks_what_was_planned_and_says_what_it_sent(name: str, tmp_path: Path) -> None:
    config = PRESETS[name](small_config(budget=150, response=response(name)))
    results = run(config, teacher_for(name), tmp_path / "run")
    stage = results["stages"]["distillation"]
    assert stage["queries"] <= stage["queries_planned"] == 150
    assert stage["queries"] > 100 and results["sends"] == METHODS[name].sends
    with Journal(RunFolder(tmp_path / "run").journal) as journal:
        sent = set(digests(journal.transfer_set().images))
    real = len(sent & private())
    if METHODS[name].questions == "private images":
        assert real == len(sent) == 150
    elif METHODS[name].sends in (Sends.NOISE, Sends.SYNTHETIC):
        assert real == 0
    else:
        assert 0 < real < 150


@pytest.mark.parametrize("name", ["am", "dafl-proxy", "db3kd", "al"])
def test_a_rival_that_was_stopped_again_and_again_makes_the_same_student(name: str, tmp_path: Path) -> None:
    config = PRESETS[name](small_config(budget=130, response=response(name), request=10))
    run(config, teacher_for(name), tmp_path / "once")
    calls, stops = iter(range(10**6)), 0
    patience = [8]

    def impatient() -> bool:
        return next(calls) >= patience[0]

    for _ in range(40):
        try:
            run(config, teacher_for(name), tmp_path / "often", watcher=Watcher(should_stop=impatient))
            break
        except Stopped:
            calls, stops = iter(range(10**6)), stops + 1
            patience[0] += patience[0] // 2
    else:
        pytest.fail("never finished")
    one, other = (RunFolder(tmp_path / folder).student.read_bytes() for folder in ("once", "often"))
    assert one == other and stops >= 2


@pytest.mark.parametrize(
    ("name", "refused", "why"),
    [
        ("ml", "top1", "no logits"),
        ("al", "top1", "no logits"),
        ("dkd", "top1", "nothing of the other classes"),
        ("db3kd", "soft", "soft labels of classes"),
    ],
)
def test_answers_that_a_rival_can_make_nothing_of_are_refused_before_anything_is_paid(
    name: str, refused: str, why: str, tmp_path: Path
) -> None:
    teacher = FreeTeacher()
    with pytest.raises(InvalidConfig, match=rf"'{name}' cannot learn from --response {refused}: .*{why}"):
        run(PRESETS[name](small_config(response=refused)), teacher, tmp_path / "run")
    assert teacher.asked == 0 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "most"), [("kd", 500), ("ml", 500), ("al", 500), ("dkd", 500), ("kn", 500), ("am", 500 + 500 * 499 // 2)]
)
def test_more_questions_than_can_be_made_of_the_private_images_are_refused(name: str, most: int) -> None:
    check_images(PRESETS[name](small_config(budget=most)), digits())
    with pytest.raises(InvalidConfig, match=f"method '{name}' can make {most:,} .* {most + 1:,} are planned"):
        check_images(PRESETS[name](small_config(budget=most + 1)), digits())


def test_a_budget_larger_than_the_images_is_no_hindrance_to_the_others() -> None:
    assert am.sizes(2000, 500) == [500, 500, 500, 500]
    assert db3kd.sizes(2000, 500, 10) == [500, *[243] * 6]
    teacher = Projection()
    kd.fill_pool(asker(teacher, 30))
    assert len(asked(teacher)) == 30
