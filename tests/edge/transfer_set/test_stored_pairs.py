from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.transfer_set.journal import Journal
from edge.transfer_set.stored_pairs import Kind, StoredPairs, joined, new_pairs, paid_once
from shared.errors import InvalidConfig, RunMismatch
from shared.protocol import LABEL
from tests.edge.transfer_set.storing import KIND, put, random_images, stored


def test_a_journal_gives_every_answered_image_once_with_the_stage_that_asked_first(tmp_path: Path) -> None:
    images = random_images(6)
    with Journal(tmp_path / "journal.sqlite") as journal:
        put(journal, "deprivatization", images[[0, 1, 0]], np.array([True, True, False]))
        put(journal, "distillation", images[[2, 1, 3]], np.array([True, False, True]))
        journal.add("distillation", 1, KIND.output, images[4:], np.ones(2, np.bool_))
        pairs = paid_once(journal, KIND)
    assert (pairs.images == images[:4]).all() and len(pairs) == 4
    assert pairs.stages == ("deprivatization", "deprivatization", "distillation", "distillation")
    assert pairs.queries() == {"deprivatization": 2, "distillation": 2}
    assert (pairs.answers == pairs.transfer_set().answers).all() and pairs.transfer_set().output == KIND.output


def test_a_journal_without_answers_gives_no_pairs(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        pairs = paid_once(journal, KIND)
    assert len(pairs) == 0 and pairs.answers.shape == (0, 10)


def test_a_journal_of_another_kind_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite") as journal:
        put(journal, "distillation", random_images(2))
        for change in ({"output": LABEL}, {"image_shape": (1, 4, 16)}):
            with pytest.raises(RunMismatch, match="Choose another run folder"):
                paid_once(journal, KIND.model_copy(update=change))


def test_a_prefix_is_what_was_asked_first() -> None:
    pairs = joined(stored(3, stage="deprivatization"), stored(4, seed=1))
    prefix = pairs.first(5)
    assert (prefix.images == pairs.images[:5]).all() and (prefix.answers == pairs.answers[:5]).all()
    assert prefix.queries() == {"deprivatization": 3, "distillation": 2}
    with pytest.raises(InvalidConfig, match="Budget 8 asks for more than the 7 stored pairs"):
        pairs.first(8)


def test_equal_sets_have_equal_digests_and_others_do_not() -> None:
    pairs = stored(5)
    other_answers = pairs.answers.copy()
    other_answers[4, 9] += 1
    others = [
        pairs.first(4),
        stored(5, seed=1),
        replace(pairs, answers=other_answers),
        replace(pairs, stages=("imported",) * 5),
        replace(pairs, kind=KIND.model_copy(update={"dataset": "mnist"})),
    ]
    assert stored(5).digest() == pairs.digest()
    assert len({pairs.digest(), *(other.digest() for other in others)}) == 6


def test_what_both_hold_is_taken_once_from_the_first() -> None:
    ours, theirs = stored(4, stage="a"), joined(stored(2, seed=1), stored(4))
    rounded = replace(theirs, answers=theirs.answers * np.float32(1.00001))
    new = new_pairs(ours, rounded, "A", "B")
    assert (new.images == theirs.images[:2]).all()
    whole = joined(ours, new)
    assert (whole.answers[:4] == ours.answers).all() and whole.stages == ("a",) * 4 + ("distillation",) * 2


@pytest.mark.parametrize("output", ["logits", "label"])
def test_another_teachers_answers_are_refused_with_their_number(output: str) -> None:
    ours = stored(5)
    if output == "label":
        kind = KIND.model_copy(update={"output": output})
        ours = StoredPairs(kind, ours.images, ours.answers.argmax(1), ours.stages)
    answers = ours.answers.copy()
    answers[[1, 3]] += 1
    with pytest.raises(RunMismatch, match="A and B hold different answers to 2 of the 5 images that are in both"):
        new_pairs(ours, replace(ours, answers=answers), "A", "B")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output": "probabilities"}, "output is logits in the first, probabilities in the second"),
        ({"image_shape": (1, 4, 16)}, "image shape is"),
        ({"classes": 7}, "classes is 10 in the first, 7"),
        ({"version": "b"}, "version is a in the first, b in the second"),
    ],
)
def test_sets_of_different_kinds_do_not_mix(change: dict[str, object], words: str) -> None:
    other = Kind.model_validate(KIND.model_dump() | change)
    with pytest.raises(RunMismatch, match=words):
        KIND.check_same(other, "A", "B")
    KIND.check_same(
        KIND.model_copy(update={"dataset": "mnist", "shift": 3, "teacher": None, "version": None}), "A", "B"
    )
