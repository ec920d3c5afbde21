from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edge.run import run
from edge.run_folder import RunFolder
from edge.transfer_set.journal import Journal
from edge.transfer_set.run_pairs import import_pairs, read_pairs, run_pairs
from edge.transfer_set.stored_pairs import IMPORTED, StoredPairs, joined
from shared.errors import InvalidCheckpoint, RunMismatch
from shared.protocol import LABEL, LOGITS
from tests.edge.small import small_config
from tests.edge.transfer_set.storing import KIND, FreeTeacher, finished_run, put, random_images, stored


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir() if not file.name.endswith(".lock")}


def student_of(folder: RunFolder) -> dict[str, torch.Tensor]:
    return folder.load_student()[1].state_dict()


def test_imported_pairs_come_back_as_imported_and_were_not_paid_here(folder: RunFolder) -> None:
    assert import_pairs(pairs := stored(5), folder, "file") == 5
    read = run_pairs(folder)
    assert read.digest() == replace(pairs, stages=(IMPORTED,) * 5).digest()
    with Journal(folder.journal) as journal:
        assert (journal.queries(), journal.asked(), journal.unique_images()) == (0, 0, 0)
        assert [request.stage for request in journal.answered()] == [IMPORTED]


def test_large_sets_are_stored_in_rows_of_a_requests_size(folder: RunFolder) -> None:
    kind = KIND.model_copy(update={"image_shape": (1, 2048, 2048)})
    images = random_images(3, shape=(1, 2048, 2048))
    pairs = StoredPairs(kind, images, np.zeros((3, 10), np.float32), ("distillation",) * 3)
    import_pairs(pairs, folder, "file")
    with Journal(folder.journal) as journal:
        assert [len(request.images) for request in journal.answered()] == [2, 1]
    assert (run_pairs(folder).images == images).all()


def test_importing_twice_changes_nothing_and_more_adds_only_what_is_new(folder: RunFolder) -> None:
    import_pairs(pairs := stored(5), folder, "file")
    before = contents(folder.path)
    assert import_pairs(pairs, folder, "file") == 0
    assert contents(folder.path) == before
    assert import_pairs(joined(stored(2, seed=1), pairs), folder, "more") == 2
    assert (run_pairs(folder).images == np.concatenate([pairs.images, random_images(2, 1)])).all()


def test_an_import_that_was_broken_off_is_completed(folder: RunFolder) -> None:
    pairs = stored(5)
    with Journal(folder.journal) as journal:
        journal.add(IMPORTED, 0, LOGITS, pairs.images[:2], np.zeros(2, np.bool_))
    assert import_pairs(pairs, folder, "file") == 5
    assert run_pairs(folder).images.tolist() == pairs.images.tolist()


def test_what_does_not_fit_is_refused_before_anything_is_written(folder: RunFolder) -> None:
    import_pairs(pairs := stored(5), folder, "file")
    before = contents(folder.path)
    other = stored(6, seed=1)
    labels = StoredPairs(
        KIND.model_copy(update={"output": LABEL}), other.images, other.answers.argmax(1), other.stages
    )
    lied = replace(other, images=np.concatenate([pairs.images[:1], other.images[1:]]))
    for wrong, words in ((labels, "output is logits in the first, label"), (lied, "different answers to 1 of the 1")):
        with pytest.raises(RunMismatch, match=words):
            import_pairs(wrong, folder, "file")
    assert contents(folder.path) == before


def test_somebody_elses_folder_is_refused_and_left_alone(folder: RunFolder) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.txt").write_text("years of work")
    with pytest.raises(RunMismatch, match="Choose another --run"):
        import_pairs(stored(2), folder, "file")
    assert contents(folder.path) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("output", [LOGITS, LABEL])
def test_a_run_that_knows_all_answers_pays_nothing_and_gives_the_same_student(tmp_path: Path, output: str) -> None:
    changes = {"response": "top1" if output == LABEL else "soft"}
    first = finished_run(tmp_path / "first", output, **changes)
    second = RunFolder(tmp_path / "second")
    import_pairs(run_pairs(first), second, "first")
    teacher = FreeTeacher(output)
    results = run(small_config(**changes), teacher, second.path)
    assert teacher.asked == 0 and sum(stage["queries"] for stage in results["stages"].values()) == 0
    assert (results["imported"], results["pool"]["pairs"]) == (100, 100)
    ours, theirs = student_of(first), student_of(second)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_step_2_learns_from_imported_pairs_too_and_pays_only_for_its_own(tmp_path: Path) -> None:
    first, second = finished_run(tmp_path / "first"), RunFolder(tmp_path / "second")
    import_pairs(run_pairs(first), second, "first")
    teacher = FreeTeacher()
    results = run(small_config(seed=1), teacher, second.path)
    assert teacher.asked == 100
    assert (results["imported"], results["pool"]["pairs"]) == (100, 200)
    assert run_pairs(second).queries() == {IMPORTED: 100, "deprivatization": 30, "distillation": 70}
    assert (run_pairs(second).images[:100] == run_pairs(first).images).all()


def test_a_run_that_would_ask_for_something_else_is_refused_before_it_asks(folder: RunFolder) -> None:
    import_pairs(stored(5), folder, "file")
    before, teacher = contents(folder.path), FreeTeacher(LABEL)
    with pytest.raises(RunMismatch, match="output is logits in the first, label in the second"):
        run(small_config(response="top1"), teacher, folder.path)
    assert teacher.asked == 0 and contents(folder.path) == before


def test_a_student_that_has_begun_to_learn_gets_no_new_pairs(tmp_path: Path) -> None:
    folder = finished_run(tmp_path / "run")
    assert import_pairs(run_pairs(folder), folder, "itself") == 0
    new = replace(stored(2), answers=np.zeros((2, 10), np.float32))
    with pytest.raises(RunMismatch, match=r"has begun to learn.*the 2 new pairs of file"):
        import_pairs(new, folder, "file")
    assert run_pairs(folder).queries() == {"deprivatization": 30, "distillation": 70}


def test_a_student_that_was_stopped_while_it_learnt_gets_no_new_pairs_either(folder: RunFolder) -> None:
    import_pairs(stored(5), folder, "file")
    folder.claim(small_config())
    folder.state["distillation"].touch()
    assert import_pairs(stored(5), folder, "file") == 0
    with pytest.raises(RunMismatch, match="has begun to learn"):
        import_pairs(stored(2, seed=1), folder, "more")


@pytest.mark.parametrize("output", [LOGITS, LABEL])
def test_a_run_of_a_version_that_noted_nothing_is_read_too(tmp_path: Path, output: str) -> None:
    folder = finished_run(tmp_path / "run", output, response="top1" if output == LABEL else "soft")
    with Journal(folder.journal) as journal:
        journal.note("pairs", None)
    kind = run_pairs(folder).kind
    assert (kind.output, kind.image_shape, kind.classes, kind.dataset) == (output, (1, 8, 8), 10, "digits")
    assert kind.shift is None and kind.teacher is None


def test_a_note_that_is_not_ours_is_refused(folder: RunFolder) -> None:
    with Journal(folder.journal) as journal:
        put(journal, "distillation", random_images(2))
        journal.note("pairs", {"output": "weights"})
    with pytest.raises(InvalidCheckpoint, match="was not written by this version"):
        run_pairs(folder)


def test_a_folder_without_answers_is_said_and_nothing_is_made_there(folder: RunFolder) -> None:
    folder.path.mkdir()
    with pytest.raises(RunMismatch, match="holds no answers"):
        read_pairs(folder.path)
    assert list(folder.path.iterdir()) == []
    with Journal(folder.journal):
        pass
    with pytest.raises(RunMismatch, match="holds no answers"):
        read_pairs(folder.path)
