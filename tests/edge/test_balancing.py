"""Which images are chosen, and that choosing is repeated after a stop without paying twice.

N pairs, M candidates, K classes.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edge.balancing import CANDIDATES, balanced, candidates, drawn_queries, early_config, fill_balanced_pool
from edge.distillation import STAGE, fill_pool
from edge.gan import Generator
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import TransferSet
from shared.errors import Stopped
from tests.edge.small import K, Projection, small_config
from tests.edge.transfer_set.storing import FreeTeacher

CHOOSING = {"drawn_share": 0.4, "image_weight": 0.0}


def counts(classes: torch.Tensor) -> list[int]:
    return torch.bincount(classes, minlength=4).tolist()


def test_classes_that_are_short_are_filled_up_first() -> None:
    candidates_M = torch.tensor([0, 1, 2, 3] * 10)
    known_N = torch.tensor([0] * 6 + [1] * 3 + [2])  # and none of 3
    chosen = balanced(candidates_M, known_N, 14, classes=4)
    assert counts(torch.cat([known_N, candidates_M[chosen]])) == [6, 6, 6, 6]
    assert candidates_M[chosen][:2].tolist() == [3, 2]  # a smaller budget would have bought the most needed ones


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.lists(st.integers(0, 3), max_size=30), st.data())
def test_no_other_choice_would_have_made_the_smallest_class_larger(
    of_candidates: list[int], known: list[int], data: st.DataObject
) -> None:
    class_M, known_N = torch.tensor(of_candidates), torch.tensor(known, dtype=torch.long)
    count = data.draw(st.integers(0, len(of_candidates)))
    chosen = balanced(class_M, known_N, count, classes=4)
    assert len(set(chosen.tolist())) == count
    had, got, there = counts(known_N), counts(class_M[chosen]), counts(class_M)
    now = [a + b for a, b in zip(had, got, strict=True)]
    # Whoever was given one is not ahead by more than 1 of anybody who could have been given one instead.
    for k in range(4):
        for other in range(4):
            if got[k] > 0 and got[other] < there[other]:
                assert now[k] <= now[other] + 1


def test_the_first_part_is_the_pools_and_the_rest_is_what_an_early_student_of_it_takes_for_the_short_classes() -> (
    None
):
    torch.manual_seed(0)
    generator = Generator(K, (1, 8, 8), 8).eval()
    config, learnt = small_config(distillation=CHOOSING), list[TransferSet]()

    class Bright(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
            mean_B1 = x_BCHW.mean((1, 2, 3))[:, None]
            return torch.cat([mean_B1, -mean_B1, torch.full((len(x_BCHW), K - 2), -1.0)], 1)

    def early(pairs: TransferSet) -> nn.Module:
        learnt.append(pairs)
        return Bright()

    teacher, as_it_comes = Projection(), Projection()
    fill_balanced_pool(generator, teacher, 50, config, early)
    (_, first), (_, rest) = teacher.questions
    fill_pool(generator, as_it_comes, 20, config)
    assert (first == as_it_comes.questions[0][1]).all() and (learnt[0].images == first).all()
    offered = candidates(generator, CANDIDATES * 30, config)
    assert len(rest) == 30 and {image.tobytes() for image in rest} <= {image.tobytes() for image in offered}
    assert not {image.tobytes() for image in offered} & {image.tobytes() for image in first}


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
