"""Runs that learn from a folder of one's own images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.teacher import Reply
from edge.config import Config
from edge.evaluation import evaluate
from edge.images.local_images import LocalImages, local_images, some_images
from edge.presets import PRESETS
from edge.report.page import write_report
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Journal
from shared import architectures
from shared.errors import (
    ForeignAnswer,
    InvalidConfig,
    InvalidImage,
    MekdError,
    RunMismatch,
    Stopped,
    UnknownDataset,
)
from shared.protocol import IMAGES, LABEL, LOGITS, ModelMetadata, TensorMetadata
from tests.conftest import LiveServer, Serve
from tests.edge.images.pictures import write_pictures
from tests.edge.small import small_config
from tests.fakes import LinearTeacher

SHAPE, CLASSES = (3, 16, 16), 4


def config(**changes: Any) -> Config:
    return small_config(dataset="folder", **changes)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Forty images, some of them below subfolders."""
    write_pictures(tmp_path / "mine", 24)
    write_pictures(tmp_path / "mine" / "cats", 16, seed=1)
    return tmp_path / "mine"


@pytest.fixture
def server(serve: Serve) -> LiveServer:
    return serve(LinearTeacher(SHAPE, CLASSES))


@contextmanager
def a_client(server: LiveServer, **key: Any) -> Iterator[TeacherClient]:
    with TeacherClient(server.url, SecretStr(server.make_key(**key)), patience=1) as client:
        yield client


class Foreign:
    """Somebody else's server, which says neither how many classes there are nor who pays."""

    def __init__(self, shape: tuple[int, ...] = SHAPE, output: str = LABEL) -> None:
        self.shape, self.output, self.asked = shape, output, 0
        self._model = LinearTeacher(SHAPE, CLASSES)

    def metadata(self) -> ModelMetadata:
        images = TensorMetadata(name=IMAGES, datatype="UINT8", shape=[-1, *self.shape])
        answer = TensorMetadata(name=self.output, datatype="FP32", shape=[-1, -1])
        return ModelMetadata(name="theirs", inputs=[images], outputs=[answer])

    def usage(self) -> None:
        return None

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        self.asked += len(images)
        logits = self._model.logits(images)
        return Reply(logits.argmax(1) if output == LABEL else logits, 0, 0, replayed=False)


def test_a_folder_is_learnt_from_without_a_name_of_it_or_an_image_in_the_run(
    server: LiveServer, mine: Path, tmp_path: Path
) -> None:
    remarks = list[str]()
    with a_client(server) as client:
        results = run(config(), client, tmp_path / "run", mine, Watcher(on_remark=remarks.append))
    folder = RunFolder(tmp_path / "run")
    card, _ = folder.load_student()
    assert (card.dataset, card.image_shape, card.classes) == ("folder", SHAPE, CLASSES)
    assert sum(results["pool"]["answers_by_class"]) == 100
    assert remarks == ["40 images, cropped and scaled to 16x16, 3 channels."]
    private = {picture.tobytes() for picture in local_images_of(mine, server).images}
    with Journal(folder.journal) as journal:
        assert not {image.tobytes() for image in journal.transfer_set().images} & private
    written = b"".join(file.read_bytes() for file in folder.path.rglob("*") if file.is_file())
    assert not any(picture in written for picture in private)
    assert str(mine).encode() not in written and b"cats" not in written


def local_images_of(folder: Path, server: LiveServer, **changes: Any) -> LocalImages:
    with a_client(server) as client:
        return local_images(config(**changes), folder, client.metadata())


def test_what_is_special_about_the_files_is_told(server: LiveServer, mine: Path) -> None:
    (mine / "again.png").write_bytes((mine / "003.png").read_bytes())
    (mine / "notes.txt").touch()
    remarks = list[str]()
    with a_client(server) as client:
        local = local_images(config(), mine, client.metadata(), Watcher(on_remark=remarks.append))
    assert len(local.images) == 41
    assert "41 images" in remarks[0] and "1 other files" in remarks[0] and "1 the same as another" in remarks[0]


@pytest.mark.parametrize(("given", "shift"), [(None, 1), (0, 0), (3, 3)])
def test_the_shift_follows_from_the_size_unless_it_is_given(
    server: LiveServer, mine: Path, given: int | None, shift: int
) -> None:
    assert local_images_of(mine, server, shift=given).augmentation.shift == shift


def test_a_stopped_run_goes_on_with_the_same_images_and_refuses_others(
    server: LiveServer, mine: Path, tmp_path: Path
) -> None:
    steps, key = list[int](), SecretStr(server.make_key(budget=100))
    watcher = Watcher(should_stop=lambda: len(steps) >= 15, on_step=lambda *_: steps.append(1))
    with TeacherClient(server.url, key, patience=1) as client:
        with pytest.raises(Stopped):
            run(config(), client, tmp_path / "run", mine, watcher)
        paid = server.spent(key.get_secret_value())
        (mine / "000.png").rename(tmp_path / "kept.png")
        with pytest.raises(RunMismatch, match="began with 40 images, now there are 39"):
            run(config(), client, tmp_path / "run", mine)
        (mine / "000.png").write_bytes((mine / "001.png").read_bytes())
        with pytest.raises(RunMismatch, match="began with 40 images, now there are 40, and not the same"):
            run(config(), client, tmp_path / "run", mine)
        assert server.spent(key.get_secret_value()) == paid
        (tmp_path / "kept.png").rename(mine / "000.png")
        mine.rename(tmp_path / "moved")
        run(config(), client, tmp_path / "run", tmp_path / "moved")
    assert server.spent(key.get_secret_value()) == 100


def no_folder(mine: Path) -> Path | None:
    return None


def a_missing_folder(mine: Path) -> Path | None:
    return mine / "nowhere"


def too_few(mine: Path) -> Path | None:
    write_pictures(mine.parent / "few", 15)
    return mine.parent / "few"


def a_broken_file(mine: Path) -> Path | None:
    (mine / "broken.png").write_bytes(b"no picture")
    return mine


@pytest.mark.parametrize(
    ("named", "error", "words"),
    [
        (no_folder, UnknownDataset, "--data FOLDER"),
        (a_missing_folder, UnknownDataset, "no folder .*nowhere"),
        (too_few, UnknownDataset, "holds 15 PNG or JPEG files and 0 others; at least 16"),
        (a_broken_file, InvalidImage, "1 of 41 image files"),
    ],
)
def test_a_folder_that_cannot_be_learnt_from_is_refused_before_anything_is_asked_or_written(
    server: LiveServer,
    mine: Path,
    tmp_path: Path,
    named: Callable[[Path], Path | None],
    error: type[MekdError],
    words: str,
) -> None:
    with a_client(server) as client, pytest.raises(error, match=words):
        run(config(), client, tmp_path / "run", named(mine))
    assert server.teacher.batches == [] and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        ((4, 16, 16), InvalidConfig, "4 channels and 16x16 pixels"),
        ((3, 16, 7), InvalidConfig, "3 channels and 7x16 pixels.* from 8x8 up"),
        ((3, -1, -1), ForeignAnswer, "fixed size"),
        ((768,), ForeignAnswer, r"no input 'images'"),
    ],
)
def test_a_teacher_whose_images_no_folder_can_give_is_refused(
    mine: Path, shape: tuple[int, ...], error: type[MekdError], words: str
) -> None:
    with pytest.raises(error, match=words):
        local_images(config(classes=CLASSES), mine, Foreign(shape).metadata())


def test_a_server_that_does_not_say_how_many_classes_there_are_needs_to_be_told(mine: Path, tmp_path: Path) -> None:
    teacher, top1 = Foreign(), config(response="top1")
    with pytest.raises(InvalidConfig, match=r"how many classes .* 'theirs' knows\. Add --classes"):
        run(top1, teacher, tmp_path / "run", mine)
    assert teacher.asked == 0
    results = run(config(response="top1", classes=CLASSES), teacher, tmp_path / "run", mine)
    assert len(results["pool"]["answers_by_class"]) == CLASSES


@pytest.mark.parametrize(
    ("output", "response", "classes", "words"),
    [
        (LABEL, "top1", 2, r"answered with [34] classes, and 2 were expected.*--classes [34] or more"),
        (LOGITS, "soft", 3, r"answered with 4 classes, and 3 were expected.*--classes 4 for"),
        (LOGITS, "soft", 5, r"answered with 4 classes, and 5 were expected.*--classes 4 for"),
    ],
)
def test_a_wrong_number_of_classes_is_found_out_at_the_first_request(
    mine: Path, tmp_path: Path, output: str, response: str, classes: int, words: str
) -> None:
    teacher = Foreign(output=output)
    with pytest.raises(ForeignAnswer, match=words):
        run(config(response=response, classes=classes, request=15), teacher, tmp_path / "run", mine)
    assert teacher.asked == 15


def test_classes_against_the_servers_word_are_refused(server: LiveServer, mine: Path, tmp_path: Path) -> None:
    with a_client(server) as client, pytest.raises(InvalidConfig, match=r"'folder' has 5 classes, the teacher .* 4"):
        run(config(classes=5), client, tmp_path / "run", mine)


@pytest.fixture
def finished(tmp_path: Path) -> RunFolder:
    """What a finished run leaves, with an untrained student."""
    folder = RunFolder(tmp_path / "run")
    folder.claim(config())
    student = architectures.build("resnet8", channels=SHAPE[0], classes=CLASSES)
    folder.keep_student(
        student, "resnet8", {"dataset": "folder", "image_shape": SHAPE, "classes": CLASSES, "seed": 0}
    )
    folder.keep_results({})
    return folder


def test_own_labelled_images_are_counted_by_their_subfolders(
    server: LiveServer, finished: RunFolder, tmp_path: Path
) -> None:
    for label in range(CLASSES):
        write_pictures(tmp_path / "test" / str(label), 3 + label, seed=10 + label)
    measured = evaluate(finished, None, None, Watcher(), test_folder=tmp_path / "test")
    assert [sum(row) for row in measured["confusion"]] == [3, 4, 5, 6]
    assert not finished.evaluation_journal.exists()

    with a_client(server) as client:
        asked = evaluate(finished, client, None, Watcher(), test_folder=tmp_path / "test")
        assert (asked["queries"], asked["confusion"]) == (18, measured["confusion"])
        write_pictures(tmp_path / "other" / "0", 2, seed=20)
        other = evaluate(finished, client, None, Watcher(), test_folder=tmp_path / "other")
        assert other["queries"] == 2 and np.sum(other["agreement"]) == 2
        assert finished.results()["evaluation"] == other
        assert evaluate(finished, client, None, Watcher(), test_folder=tmp_path / "test") == asked
    evaluate(finished, None, None, Watcher(), test_folder=tmp_path / "other")
    assert "fidelity" not in finished.results()["evaluation"], "of the other images"


def test_without_labels_there_is_no_accuracy_and_no_private_image_is_sent_for_fidelity(
    server: LiveServer, finished: RunFolder
) -> None:
    with a_client(server) as client, pytest.raises(InvalidConfig, match=r"send private images.*--test FOLDER"):
        evaluate(finished, client, None, Watcher())
    assert server.teacher.batches == []


def test_the_report_shows_private_images_only_where_the_folder_is_named(
    server: LiveServer, mine: Path, tmp_path: Path
) -> None:
    with a_client(server) as client:
        run(config(), client, tmp_path / "run", mine)
    folder, shown = RunFolder(tmp_path / "run"), '<img alt="Real images of this device'
    without = write_report(folder, None).read_text()
    assert "mekd-edge report --data FOLDER" in without and shown not in without
    assert shown in write_report(folder, mine).read_text()


def test_images_to_look_at_come_from_all_over_the_folder(server: LiveServer, mine: Path) -> None:
    images = local_images_of(mine, server).images
    for count, every in ((100, 1), (40, 1), (39, 2), (16, 3), (1, 40)):
        some = some_images(config(), mine, SHAPE, count)
        assert some is not None and len(some) <= count and (some == images[::every]).all()
    assert some_images(config(), None, SHAPE, 5) is None


def test_a_folder_without_images_has_none_to_look_at(tmp_path: Path) -> None:
    with pytest.raises(UnknownDataset, match="There is no image below"):
        some_images(small_config(dataset="folder"), tmp_path, (1, 8, 8), 100)


def test_a_folders_images_are_sent_only_with_leave(server: LiveServer, mine: Path, tmp_path: Path) -> None:
    kd = PRESETS["kd"](config(budget=20))
    with a_client(server) as client:
        with pytest.raises(InvalidConfig, match=r"'kd' sends the folder's images.* add --send-private-images"):
            run(kd, client, tmp_path / "run", mine)
        usage = client.usage()
        assert usage is not None and usage.spent == 0 and not (tmp_path / "run").exists()
        assert run(kd, client, tmp_path / "run", mine, send_private=True)["sends"] == "real"
        run(PRESETS["noise"](config(budget=20)), client, tmp_path / "noise", mine)
