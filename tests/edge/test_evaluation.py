import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.evaluation import evaluate
from edge.images.local_images import digest
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Journal
from shared import architectures
from shared.errors import BudgetTooSmall, MekdError, RunMismatch, Unauthorized
from shared.pixels import from_array
from shared.seeding import seed_initial_weights
from tests.conftest import LiveServer
from tests.edge.small import small_config, whole_digits
from tests.fakes import LinearTeacher

TESTS = 400


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """What a finished run leaves, with an untrained student."""
    folder = RunFolder(tmp_path / "run")
    folder.claim(small_config())
    seed_initial_weights(0, "student of a test")
    student = architectures.build("resnet8", channels=1, classes=10)
    card: dict[str, Any] = {"dataset": "digits", "image_shape": (1, 8, 8), "classes": 10, "seed": 0}
    folder.keep_student(student, "resnet8", card)
    folder.keep_results({"kept": "as it was"})
    return folder


def measure(folder: RunFolder, server: LiveServer | None = None, key: str = "") -> dict[str, Any]:
    if server is None:
        return evaluate(folder, None, None, Watcher())
    with TeacherClient(server.url, SecretStr(key), patience=1) as client:
        return evaluate(folder, client, None, Watcher())


def by_hand(folder: RunFolder) -> list[list[float]]:
    """The student's logits, image by image."""
    _, student = folder.load_student()
    with torch.no_grad():
        return [student(from_array(image[None]))[0].tolist() for image in whole_digits().test.images]


def argmax(values: list[float]) -> int:
    return values.index(max(values))


def table(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Counts by row and column."""
    counts = Counter(pairs)
    return [[counts[row, column] for column in range(10)] for row in range(10)]


def softmax(logits: list[float]) -> list[float]:
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def test_without_a_teacher_the_student_is_counted_against_the_labels(folder: RunFolder) -> None:
    measured = measure(folder)
    pairs = list(zip(whole_digits().test.labels.tolist(), map(argmax, by_hand(folder)), strict=True))
    hits = sum(label == predicted for label, predicted in pairs)
    assert measured == {
        "test_images": TESTS,
        "test_images_sha256": digest(whole_digits().test.images),
        "student_accuracy": hits / TESTS,
        "confusion": table(pairs),
    }
    assert folder.results() == {"kept": "as it was", "evaluation": measured}
    assert not folder.evaluation_journal.exists()


@pytest.mark.parametrize("policy", ["logits", "probabilities", "top1"])
def test_with_a_teacher_the_two_are_compared_image_by_image(
    live_server: LiveServer, folder: RunFolder, policy: str
) -> None:
    key = live_server.make_key(budget=TESTS, policy=policy)
    measured = measure(folder, live_server, key)
    student, teacher = by_hand(folder), LinearTeacher().logits(whole_digits().test.images).tolist()
    agreed = sum(argmax(s) == argmax(t) for s, t in zip(student, teacher, strict=True))
    right = sum(argmax(t) == label for t, label in zip(teacher, whole_digits().test.labels, strict=True))
    assert measured["fidelity"] == pytest.approx(agreed / TESTS)
    assert measured["teacher_accuracy"] == pytest.approx(right / TESTS)
    pairs = [(argmax(s), argmax(t)) for s, t in zip(student, teacher, strict=True)]
    assert measured["agreement"] == table((t, s) for s, t in pairs)
    true = whole_digits().test.labels.tolist()
    assert measured["teacher_confusion"] == table(zip(true, (t for _, t in pairs), strict=True))
    assert measured["queries"] == live_server.spent(key) == TESTS
    assert measured["bytes_up"] > TESTS * 64 and measured["bytes_down"] > TESTS * 8
    if policy == "logits":
        distances = [
            sum(p * (math.log(p) - math.log(q)) for p, q in zip(softmax(t), softmax(s), strict=True) if p > 0)
            for t, s in zip(teacher, student, strict=True)
        ]
        assert measured["kl_nats"] == pytest.approx(sum(distances) / TESTS, rel=1e-4)
    assert ("kl_nats" in measured) == (policy != "top1")
    assert folder.results()["evaluation"] == measured


def test_a_second_evaluation_pays_nothing_and_says_the_same(live_server: LiveServer, folder: RunFolder) -> None:
    key = live_server.make_key(budget=TESTS)
    first = measure(folder, live_server, key)
    assert measure(folder, live_server, key) == first
    assert live_server.spent(key) == TESTS


def test_what_was_paid_for_stays_when_the_student_is_measured_alone(
    live_server: LiveServer, folder: RunFolder
) -> None:
    measure(folder, live_server, live_server.make_key(budget=TESTS))
    paid = folder.results()["evaluation"]["fidelity"]
    measure(folder)
    assert folder.results()["evaluation"]["fidelity"] == paid


def test_its_questions_have_a_journal_of_their_own(live_server: LiveServer, folder: RunFolder) -> None:
    with Journal(folder.journal) as journal:
        journal.note("mine", 1)
    before = folder.journal.read_bytes()
    measure(folder, live_server, live_server.make_key())
    assert folder.journal.read_bytes() == before
    with Journal(folder.evaluation_journal) as journal:
        assert (journal.transfer_set().images == whole_digits().test.images).all()


def test_a_key_that_cannot_pay_is_said_and_what_it_paid_is_kept(live_server: LiveServer, folder: RunFolder) -> None:
    poor, rich = live_server.make_key(budget=150), live_server.make_key(budget=TESTS)
    with pytest.raises(BudgetTooSmall, match="needs 400 queries, the key paid only 150"):
        measure(folder, live_server, poor)
    assert folder.results() == {"kept": "as it was"}
    assert measure(folder, live_server, rich)["queries"] == TESTS
    assert (live_server.spent(poor), live_server.spent(rich)) == (150, TESTS - 150)


def test_a_run_that_is_not_finished_or_none_at_all_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(RunMismatch):
        measure(folder)
    folder.claim(small_config())
    with pytest.raises(RunMismatch, match="no results yet"):
        measure(folder)


@pytest.mark.parametrize("damage", [b"", b"junk" * 50])
def test_a_corrupt_student_is_refused_and_the_results_stay(folder: RunFolder, damage: bytes) -> None:
    folder.student.write_bytes(damage)
    with pytest.raises(MekdError, match=r"student\.safetensors"):
        measure(folder)
    assert folder.results() == {"kept": "as it was"}


def test_a_wrong_key_leaves_the_results_as_they_were(live_server: LiveServer, folder: RunFolder) -> None:
    with pytest.raises(Unauthorized):
        measure(folder, live_server, "mekd_wrong")
    assert folder.results() == {"kept": "as it was"}
    assert np.sum(live_server.teacher.batches) == 0
