"""Adapted students of run folders: kept, measured beside the student, and refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from edge.adaptation import adapt, predict_adapting
from edge.adapted_student import Adaptation, keep_adapted
from edge.asking.client import TeacherClient
from edge.cli import app
from edge.distillation import predict
from edge.evaluation import evaluate
from edge.experiments.adaptation import ablation
from edge.images.local_images import LocalImages, check_same_images
from edge.report.summary import adapted_to
from edge.run_folder import RunFolder, load_student
from edge.training import Watcher
from edge.transfer_set.journal import Journal
from shared import architectures, metrics
from shared.augmentation import Augmentation
from shared.errors import InvalidConfig, MekdError, RunMismatch, UnknownDataset
from shared.seeding import seed_initial_weights
from tests.conftest import LiveServer
from tests.edge.images.pictures import write_pictures
from tests.edge.small import small_config, whole_digits
from tests.edge.transfer_set.storing import finished_run
from tests.fakes import LinearTeacher

TESTS = 400
LABEL_N = torch.from_numpy(whole_digits().test.labels)


def finished(path: Path, shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10, **changes: Any) -> RunFolder:
    """What a finished run leaves, with an untrained student."""
    folder = RunFolder(path)
    config = small_config(**changes)
    folder.claim(config)
    seed_initial_weights(0, "student of a test")
    student = architectures.build("resnet8", channels=shape[0], classes=classes)
    card: dict[str, Any] = {"dataset": config.dataset, "image_shape": shape, "classes": classes, "seed": 0}
    folder.keep_student(student, "resnet8", card)
    folder.keep_results({})
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return finished(tmp_path / "run")


def measure(folder: RunFolder, adaptation: Adaptation | None, server: LiveServer | None = None) -> dict[str, Any]:
    if server is None:
        return evaluate(folder, None, None, Watcher(), adaptation=adaptation)
    with TeacherClient(server.url, SecretStr(server.make_key(budget=TESTS)), patience=1) as client:
        return evaluate(folder, client, None, Watcher(), adaptation=adaptation)


def test_the_student_adapted_to_private_images_is_measured_beside_it_without_another_query(
    live_server: LiveServer, folder: RunFolder
) -> None:
    images = whole_digits().test.images
    logits_NK = predict(adapt(folder.load_student()[1], whole_digits().edge, 3), images)
    teacher_NK = torch.from_numpy(LinearTeacher().logits(images))
    student = folder.student.read_bytes()
    measured = measure(folder, Adaptation("private", 3), live_server)
    assert measured["adapted"] == {
        "source": "private",
        "prior_strength": 3,
        "images": len(whole_digits().edge),
        "accuracy": metrics.accuracy(logits_NK, LABEL_N),
        "fidelity": metrics.accuracy(logits_NK, teacher_NK.argmax(1)),
        "kl_nats": pytest.approx(metrics.kl_divergence(teacher_NK, logits_NK)),
    }
    assert folder.results()["evaluation"] == measured
    assert measured["queries"] == TESTS == sum(live_server.teacher.batches)
    assert folder.student.read_bytes() == student and not folder.adapted_student.exists()
    alone = measure(folder, None)
    assert "adapted" not in alone and alone["confusion"] == measured["confusion"], "the student's own, as it was"


def test_adapted_to_test_images_a_student_knows_only_the_batch_that_it_classifies(folder: RunFolder) -> None:
    logits_NK = predict_adapting(folder.load_student()[1], whole_digits().test.images, 16, 64)
    adapted = measure(folder, Adaptation("test"))["adapted"]
    accuracy = metrics.accuracy(logits_NK, LABEL_N)
    told = {"source": "test", "prior_strength": 16, "images": TESTS, "batch": 64, "accuracy": accuracy}
    assert adapted == told


def test_answers_that_were_paid_for_judge_the_adapted_student_without_a_server(
    live_server: LiveServer, folder: RunFolder
) -> None:
    measure(folder, None, live_server)
    asked = sum(live_server.teacher.batches)
    first = measure(folder, Adaptation("test"))["adapted"]
    assert {"fidelity", "kl_nats"} < set(first) and sum(live_server.teacher.batches) == asked
    measure(folder, None)
    assert folder.results()["evaluation"]["adapted"] == first, "the student and the images are the same"


def test_the_ablation_agrees_with_the_evaluation(live_server: LiveServer, folder: RunFolder) -> None:
    measured = measure(folder, Adaptation("private", 2), live_server)
    rows = ablation(folder, None, None, (2,), (400,))
    assert list(rows) == ["none", "500 private images, p = 2", "test images by 400, p = 2"]
    names = ("accuracy", "fidelity", "kl_nats")
    student = {"accuracy": measured["student_accuracy"]} | measured
    assert rows["none"] == pytest.approx({name: student[name] for name in names})
    assert rows["500 private images, p = 2"] == pytest.approx({name: measured["adapted"][name] for name in names})
    inverted = ablation(folder, None, None, (0,), (), lambda images: 255 - images)
    assert list(inverted["none"]) == ["accuracy"], "the teacher was never asked about what the device sees"


def test_the_adapted_student_is_kept_with_a_card_and_classifies_as_it_was_measured(folder: RunFolder) -> None:
    accuracy = measure(folder, Adaptation())["adapted"]["accuracy"]
    kept = keep_adapted(folder, Adaptation(), None, Watcher())
    card, student = load_student(Path(kept["student"]))
    assert metrics.accuracy(predict(student, whole_digits().test.images), LABEL_N) == accuracy
    assert card.facts == {"adaptation_images": 500, "adaptation_prior_strength": 16}
    assert card.model_copy(update={"facts": {}}) == folder.load_student()[0]
    assert kept == {"student": str(folder.adapted_student), "source": "private", "prior_strength": 16, "images": 500}
    with pytest.raises(InvalidConfig, match="none to keep"):
        keep_adapted(folder, Adaptation("test"), None, Watcher())


@pytest.mark.parametrize("strength", [-1.0, math.inf, math.nan])
def test_a_prior_strength_that_cannot_be_written_down_is_refused(strength: float) -> None:
    with pytest.raises(InvalidConfig, match="0 or more"):
        Adaptation("private", strength)


@pytest.fixture
def own(tmp_path: Path) -> RunFolder:
    """Of a run that learnt from the twenty pictures in `mine`."""
    folder = finished(tmp_path / "run", (3, 16, 16), 4, dataset="folder")
    images = write_pictures(tmp_path / "mine", 20)
    with Journal(folder.journal) as journal:
        check_same_images(LocalImages("folder", 4, Augmentation(1), images), journal)
    write_pictures(tmp_path / "test" / "2", 3, seed=9)
    return folder


def test_a_folders_images_are_adapted_to_where_they_are_named(own: RunFolder, tmp_path: Path) -> None:
    assert keep_adapted(own, Adaptation(), tmp_path / "mine", Watcher())["images"] == 20
    written = own.adapted_student.read_bytes() + (own.path / "results.json").read_bytes()
    assert str(tmp_path).encode() not in written
    measured = evaluate(own, None, tmp_path / "mine", Watcher(), None, tmp_path / "test", Adaptation())
    assert (measured["test_images"], measured["adapted"]["images"]) == (3, 20)


def test_new_images_are_adapted_to_instead_of_those_that_the_run_learnt_from(own: RunFolder, tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "new" / "below", 5, seed=3)
    now = Adaptation("private", 1, tmp_path / "new")
    kept = keep_adapted(own, now, None, Watcher())
    assert (kept["source"], kept["images"]) == ("folder", 5)
    there, right = load_student(own.adapted_student)[1], adapt(own.load_student()[1], np.ascontiguousarray(images), 1)
    assert all(map(torch.equal, there.state_dict().values(), right.state_dict().values()))
    told = evaluate(own, None, None, Watcher(), None, tmp_path / "test", now)["adapted"]
    assert told["source"] == "folder" and adapted_to(told) == "adapted to 5 new images"
    with pytest.raises(InvalidConfig, match="'private' only"):
        Adaptation("test", 1, tmp_path / "new")


def nothing(mine: Path) -> Path | None:
    return None


def empty(mine: Path) -> Path | None:
    (mine.parent / "empty").mkdir()
    return mine.parent / "empty"


def others(mine: Path) -> Path | None:
    (mine / "000.png").unlink()
    return mine


@pytest.mark.parametrize(
    ("named", "error", "words"),
    [
        (nothing, UnknownDataset, "learnt from a folder of images.*--data FOLDER"),
        (empty, UnknownDataset, "no image below .*empty"),
        (others, RunMismatch, "learnt from 20 images, now there are 19, and not the same"),
    ],
)
def test_images_that_the_run_did_not_learn_from_are_refused_before_anybody_is_asked(
    live_server: LiveServer, own: RunFolder, tmp_path: Path, named: Any, error: type[MekdError], words: str
) -> None:
    data = named(tmp_path / "mine")
    with pytest.raises(error, match=words):
        keep_adapted(own, Adaptation(), data, Watcher())
    key = SecretStr(live_server.make_key())
    with TeacherClient(live_server.url, key) as client, pytest.raises(error, match=words):
        evaluate(own, client, data, Watcher(), None, tmp_path / "test", Adaptation())
    assert np.sum(live_server.teacher.batches) == 0
    assert own.results() == {} and not own.adapted_student.exists()


def invoke(*arguments: object, key: str | None = None) -> Result:
    environment = {"MEKD_API_KEY": key, "MEKD_API_KEY_FILE": None, "MEKD_SERVER_URL": None, "COLUMNS": "200"}
    return CliRunner().invoke(app, list(map(str, arguments)), env=environment, catch_exceptions=False)


@pytest.mark.parametrize("flag", [("--images", "."), ("--prior-strength", "0")])
def test_flags_that_say_how_to_adapt_are_refused_where_nothing_is_adapted(flag: tuple[str, str]) -> None:
    with pytest.raises(InvalidConfig, match="Add --adapt private or --adapt test"):
        invoke("evaluate", "--run", "nowhere", *flag)


def test_a_run_is_measured_adapted_and_its_adapted_student_written(live_server: LiveServer, tmp_path: Path) -> None:
    folder, key = finished_run(tmp_path / "run"), live_server.make_key(budget=TESTS)
    asking = ("evaluate", "--run", folder.path, "--server", live_server.url)
    table = " ".join(invoke(*asking, "--adapt", "private", "--prior-strength", 0, key=key).stderr.split())
    adapted = folder.results()["evaluation"]["adapted"]
    assert f"student accuracy, adapted to 500 private images │ {adapted['accuracy']:.2%}" in table
    assert (
        f"fidelity, adapted │ {adapted['fidelity']:.2%}" in table and f"adapted │ {adapted['kl_nats']:.4f}" in table
    )
    assert live_server.spent(key) == TESTS

    stream = json.loads(invoke("evaluate", "--run", folder.path, "--adapt", "test", "--json").stdout)
    assert (stream["adapted"]["source"], stream["adapted"]["batch"]) == ("test", 64)
    said = invoke("adapt", "--run", folder.path, "--prior-strength", "2.5")
    assert said.stdout == "" and f"written to {folder.path / 'student-adapted.safetensors'}" in said.stderr
    assert load_student(folder.adapted_student)[0].facts["adaptation_prior_strength"] == 2.5
