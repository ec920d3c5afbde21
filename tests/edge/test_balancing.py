"""Which images are chosen, and that choosing is repeated after a stop without paying twice.

N pairs, M candidates, K classes.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edge.balancing import CANDIDATES, drawn_queries, early_config, fill_balanced_pool, filled_up
from edge.config import Config
from edge.distillation import STAGE, drawn_images, fill_pool, predict
from edge.gan import Generator
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Images, TransferSet
from shared.errors import Stopped
from shared.protocol import LABEL
from tests.edge.small import K, Projection, small_config
from tests.edge.transfer_set.storing import FreeTeacher

CHOOSING = {"drawn_share": 0.4, "image_weight": 0.0}


def counts(classes: torch.Tensor) -> list[int]:
    return torch.bincount(classes, minlength=4).tolist()


def test_classes_that_are_short_are_filled_up_first_and_then_all_come_as_they_are() -> None:
    candidates_M = torch.tensor([0, 1, 2, 3] * 10)
    known_N = torch.tensor([0] * 6 + [1] * 3 + [2])  # and none of 3
    chosen = filled_up(candidates_M, known_N, 12, classes=4, fewest=3)
    assert candidates_M[chosen][:5].tolist() == [3, 2, 3, 2, 3]  # the most needed first, and then 3 of either
    assert chosen[5:].tolist() == [0, 1, 4, 5, 8, 9, 10]  # 2, 3, 6, 7 and 11 are chosen already


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.lists(st.integers(0, 3), max_size=30),
    st.integers(0, 20),
    st.data(),
)
def test_no_class_stays_short_while_one_that_is_not_is_chosen(
    of_candidates: list[int], known: list[int], fewest: int, data: st.DataObject
) -> None:
    class_M, known_N = torch.tensor(of_candidates), torch.tensor(known, dtype=torch.long)
    count = data.draw(st.integers(0, len(of_candidates)))
    chosen = filled_up(class_M, known_N, count, classes=4, fewest=fewest)
    assert len(set(chosen.tolist())) == count
    had, got, there = counts(known_N), counts(class_M[chosen]), counts(class_M)
    now = [a + b for a, b in zip(had, got, strict=True)]
    for k in range(4):
        for other in range(4):
            if now[k] > fewest and got[k] > 0:
                assert now[other] >= fewest or got[other] == there[other]
    if min(had) >= fewest:
        assert chosen.tolist() == list(range(count))


class Bright(nn.Module):
    """Takes every image for class 0 or 1, whichever its brightness says."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        mean_B1 = x_BCHW.mean((1, 2, 3))[:, None]
        return torch.cat([mean_B1, -mean_B1, torch.full((len(x_BCHW), K - 2), -1.0)], 1)


def pool_of(queries: int, teacher: Projection, learnt: list[TransferSet]) -> tuple[Generator, Config]:
    torch.manual_seed(0)
    generator, config = Generator(K, (1, 8, 8), 8).eval(), small_config(distillation=CHOOSING)

    def early(pairs: TransferSet) -> nn.Module:
        learnt.append(pairs)
        return Bright()

    fill_balanced_pool(generator, teacher, queries, config, early)
    return generator, config


class OneClass(Projection):
    """Answers class 1 to everything."""

    def __call__(self, stage: str, images: Images) -> TransferSet:
        super().__call__(stage, images)
        return TransferSet(images, np.ones(len(images), np.int64), LABEL)


def test_where_a_class_is_short_the_rest_is_what_an_early_student_of_the_first_part_takes_for_it() -> None:
    teacher, as_it_comes, learnt = OneClass(), Projection(), list[TransferSet]()
    generator, config = pool_of(50, teacher, learnt)
    (_, first), (_, rest) = teacher.questions
    fill_pool(generator, as_it_comes, 50, config)
    ((_, pool),) = as_it_comes.questions
    assert (first == pool[:20]).all() and (learnt[0].images == first).all()
    offered = np.concatenate([pool[20:], drawn_images(generator, (CANDIDATES - 1) * 30, config, "candidates")])
    of_class_0 = predict(Bright(), offered).argmax(1).numpy() == 0
    needed = 3  # half of an equal share is 2.5
    assert (rest[:needed] == offered[of_class_0][:needed]).all()
    others = [image.tobytes() for image in offered if image.tobytes() not in {one.tobytes() for one in rest[:needed]}]
    assert [image.tobytes() for image in rest[needed:]] == others[: 30 - needed]


class EveryClass(Projection):
    """Answers the classes in turn."""

    def __call__(self, stage: str, images: Images) -> TransferSet:
        super().__call__(stage, images)
        return TransferSet(images, np.arange(len(images)) % K, LABEL)


def test_where_no_class_is_short_the_pool_is_the_same_as_without_choosing() -> None:
    teacher, as_it_comes, learnt = EveryClass(), Projection(), list[TransferSet]()
    generator, config = pool_of(50, teacher, learnt)
    fill_pool(generator, as_it_comes, 50, config)
    assert learnt == []
    assert (np.concatenate([images for _, images in teacher.questions]) == as_it_comes.questions[0][1]).all()


@pytest.mark.parametrize(("queries", "drawn"), [(100, 40), (2, 2), (3, 2), (1, 1), (0, 0)])
def test_the_early_student_has_two_answers_at_least(queries: int, drawn: int) -> None:
    assert drawn_queries(queries, small_config(distillation=CHOOSING)) == drawn


def test_the_early_student_learns_half_as_long_and_from_the_answers_alone() -> None:
    early = early_config(small_config(distillation={"steps": 13, "consistency_weight": 1.0}), 0.5).distillation
    assert (early.steps, early.image_weight, early.kl_weight, early.consistency_weight) == (6, 0, 1, 0)


@pytest.mark.parametrize("when", [13, 17, 20, 25])
def test_a_run_stopped_anywhere_asks_for_the_same_images_and_ends_as_the_undisturbed_one(
    when: int, tmp_path: Path
) -> None:
    config = small_config(distillation=CHOOSING, deprivatization={"im_weight": 0.0}, request=20)
    undisturbed = FreeTeacher()
    results = run(config, undisturbed, tmp_path / "whole")
    assert undisturbed.asked == 100 and results["stages"][STAGE]["queries"] == 100
    steps, teacher = list[str](), FreeTeacher()
    watcher = Watcher(
        should_stop=lambda: len(steps) == when, on_step=lambda stage, done, total, values: steps.append(stage)
    )
    with pytest.raises(Stopped):
        run(config, teacher, tmp_path / "stopped", watcher=watcher)
    run(config, teacher, tmp_path / "stopped")
    assert teacher.asked == 100
    one, other = (RunFolder(tmp_path / name).student.read_bytes() for name in ("whole", "stopped"))
    assert one == other


def test_with_every_answer_there_no_early_student_learns_again(tmp_path: Path) -> None:
    config = small_config(distillation=CHOOSING)
    seen = list[str]()
    watcher = Watcher(
        should_stop=lambda: seen.count(STAGE) == 3, on_step=lambda stage, done, total, values: seen.append(stage)
    )
    with pytest.raises(Stopped):
        run(config, FreeTeacher(), tmp_path / "run", watcher=watcher)
    again = list[str]()
    run(
        config,
        FreeTeacher(),
        tmp_path / "run",
        watcher=Watcher(on_step=lambda stage, done, total, values: again.append(stage)),
    )
    assert set(seen) == {"deprivatization", "early student", STAGE} and set(again) == {STAGE}


def test_a_budget_that_ends_with_the_first_part_chooses_nothing(tmp_path: Path) -> None:
    config = small_config(budget=2, distillation=CHOOSING | {"batch": 2}, deprivatization={"im_weight": 0.0})
    teacher = FreeTeacher()
    results = run(config, teacher, tmp_path / "run")
    assert teacher.asked == 2 == results["pool"]["pairs"]
