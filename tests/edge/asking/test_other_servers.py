"""Open Inference servers that are not ours, see tests/foreign_oip_server.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.query import ask_about
from edge.asking.served_model import ServedModel
from edge.run import run
from edge.training import Watcher
from shared.errors import ForeignAnswer, InvalidConfig, InvalidRequest, NotFound, RunMismatch, Stopped
from shared.protocol import LABEL, LOGITS, PROBABILITIES, ModelMetadata
from tests.conftest import LiveServer
from tests.edge.small import small_config
from tests.fakes import LinearTeacher
from tests.foreign_oip_server import Dialect, ForeignServer, Model

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8), np.uint8)
TEACHER = LinearTeacher()
OTHER = Dialect()


def softmax(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    powers = np.exp(TEACHER.logits(images).astype(np.float64))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def labels(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(TEACHER.logits(images).argmax(1))


def told_client(
    server: ForeignServer, output: str | None = "fc7=logits", pixel_range: str | None = None
) -> TeacherClient:
    told = ServedModel.told(server.dialect.model, output, pixel_range)
    return TeacherClient(server.url, SecretStr(""), told, patience=1)


def as_real(images: NDArray[Any]) -> NDArray[np.float64]:
    """The linear teacher for images of real numbers, whatever their range."""
    return np.asarray(images.reshape(len(images), -1) @ np.arange(640).reshape(64, 10) % 7, np.float64)


def test_a_run_goes_on_only_with_the_teacher_and_the_pixels_that_it_began_with(tmp_path: Path) -> None:
    def go_on(range_: str, model: str, *, stop: bool = False) -> None:
        told = ServedModel.told(model, "fc7=logits", range_)
        with TeacherClient(server.url, SecretStr(""), told, patience=1) as teacher:
            run(small_config(), teacher, tmp_path / "run", watcher=Watcher(should_stop=lambda: stop))

    with ForeignServer(as_real, Dialect(datatype="FP32")) as server:
        with pytest.raises(Stopped):
            go_on("0,1", server.dialect.model, stop=True)
        with pytest.raises(RunMismatch, match=r"--pixel-range 0,1; now it is .*--pixel-range -1,1.*the same flags"):
            go_on("-1,1", server.dialect.model)
        assert server.questions == []
        go_on("0,1", server.dialect.model)
        assert server.questions


@contextmanager
def met(
    model: Model, dialect: Dialect = OTHER, **flags: Any
) -> Iterator[tuple[TeacherClient, ModelMetadata, ForeignServer]]:
    """A client that knows the server's metadata."""
    with ForeignServer(model, dialect) as server, told_client(server, **flags) as client:
        yield client, client.metadata(), server


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_a_run_over_another_server_ends_in_the_same_student_as_over_ours(
    live_server: LiveServer, tmp_path: Path, binary: bool
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    with TeacherClient(live_server.url, SecretStr(live_server.make_key()), patience=1) as teacher:
        expected = run(small_config(), teacher, ours)
    remarks: list[str] = []
    with ForeignServer(TEACHER.logits, Dialect(binary=binary)) as server, told_client(server) as teacher:
        results = run(small_config(), teacher, theirs, watcher=Watcher(on_remark=remarks.append))
    for name in ("student.safetensors", "generator.safetensors", "curves.json"):
        assert (theirs / name).read_bytes() == (ours / name).read_bytes()
    assert results["pool"] == expected["pool"] and results["server"] is None
    stages = [(stage["queries"], stage["queries_by_server"]) for stage in results["stages"].values()]
    assert stages == [(30, None), (70, None)]
    assert all((b'"data"' in question) == (not binary) for question in server.questions)
    (remark,) = [remark for remark in remarks if "no meter" in remark]
    assert "100 queries" in remark and "twice" in remark


@pytest.mark.parametrize("batch_axis", [True, False])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("datatype", "low", "high"), [("UINT8", 0, 255), ("FP32", 0, 1), ("FP32", -1, 1)])
def test_pixels_arrive_in_the_range_and_datatype_that_the_model_takes(
    datatype: str, low: float, high: float, binary: bool, batch_axis: bool
) -> None:
    dialect = Dialect(datatype=datatype, pixel_range=(low, high), binary=binary, batch_axis=batch_axis)
    pixel_range = f"{low},{high}" if datatype == "FP32" else None
    with met(TEACHER.logits, dialect, pixel_range=pixel_range) as (teacher, metadata, _):
        assert [(tensor.name, tensor.shape) for tensor in metadata.inputs] == [("images", [-1, 1, 8, 8])]
        assert [(tensor.name, tensor.shape) for tensor in metadata.outputs] == [(LOGITS, [-1, 10])]
        assert metadata.classes() == 10
        reply = teacher.ask(IMAGES, LOGITS, "a")
    assert reply.values.tobytes() == TEACHER.logits(IMAGES).tobytes() and not reply.replayed


def test_the_pixel_range_is_mapped_linearly_and_reached_at_both_ends() -> None:
    pixels = ServedModel.told("m", None, "-1,1").pixels(np.arange(256, dtype=np.uint8), real=True)
    assert pixels.dtype == np.float32 and (pixels[0], pixels[255]) == (-1, 1)
    np.testing.assert_allclose(np.diff(pixels), 2 / 255, rtol=1e-4)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("model", "answers", "meaning", "expected"),
    [
        (TEACHER.logits, "FP64", LOGITS, TEACHER.logits(IMAGES)),
        (TEACHER.logits, "FP16", LOGITS, TEACHER.logits(IMAGES).astype(np.float16)),
        (softmax, "FP32", PROBABILITIES, softmax(IMAGES).astype(np.float32)),
        (labels, "INT32", LABEL, labels(IMAGES)),
        (labels, "INT64", LABEL, labels(IMAGES)),
        (lambda images: labels(images)[:, None], "INT64", LABEL, labels(IMAGES)),
    ],
)
def test_answers_are_understood_in_other_datatypes_and_as_what_the_flag_says(
    model: Any, answers: str, meaning: str, expected: NDArray[Any], binary: bool
) -> None:
    dialect = Dialect(answers=answers, binary=binary)
    with met(model, dialect, output=f"fc7={meaning}") as (teacher, metadata, _):
        reply = teacher.ask(IMAGES, meaning, "a")
    assert [tensor.name for tensor in metadata.outputs] == [meaning] == [metadata.richest_output()]
    assert reply.values.dtype == (np.int64 if meaning == LABEL else np.float32)
    np.testing.assert_array_equal(reply.values, expected)


def test_doubles_beyond_single_precision_are_refused() -> None:
    def huge(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.full((len(images), 10), 1e300)

    with met(huge, Dialect(answers="FP64")) as (teacher, _, _), pytest.raises(ForeignAnswer, match="not finite"):
        teacher.ask(IMAGES, LOGITS, "a")


def below_all_classes(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.full(len(images), -1)


@pytest.mark.parametrize(
    ("model", "answers", "meaning", "words"),
    [
        (below_all_classes, "INT64", LABEL, "class -1; the first class is 0"),
        (TEACHER.logits, "FP32", PROBABILITIES, "no probabilities"),
    ],
)
def test_answers_that_are_no_class_or_no_probability_are_refused(
    model: Model, answers: str, meaning: str, words: str
) -> None:
    told = Dialect(answers=answers)
    with met(model, told, output=f"fc7={meaning}") as (teacher, *_), pytest.raises(ForeignAnswer, match=words):
        teacher.ask(IMAGES, meaning, "a")


def test_probabilities_that_rounding_took_out_of_their_range_are_put_back() -> None:
    def rounded(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return np.tile([1 + 1e-6, -1e-6, *[0.0] * 8], (len(images), 1))

    with met(rounded, Dialect(), output=f"fc7={PROBABILITIES}") as (teacher, _, _):
        values = teacher.ask(IMAGES, PROBABILITIES, "a").values
    assert (values.min(), values.max()) == (0, 1)


def zeros(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.zeros((len(images), 10), np.float32)


@pytest.mark.parametrize(
    ("dialect", "flags", "words"),
    [
        (Dialect(datatype="FP32"), {}, "--pixel-range 0,1 or --pixel-range -1,1"),
        (Dialect(), {"pixel_range": "0,1"}, "takes pixels from 0 to 255. Leave --pixel-range out"),
        (Dialect(), {"output": None}, "offers fc7; .*--teacher-output fc7=logits"),
        (Dialect(), {"output": "fc8=logits"}, "names 'fc8', the model 'resnet 50' offers fc7"),
        (Dialect(), {"output": "fc7=label"}, "is FP32, which cannot be label: UINT8, INT64, INT32 can"),
        (Dialect(answers="BYTES"), {}, "is BYTES, which cannot be logits"),
        (Dialect(datatype="INT8"), {}, r"'input__0' of .* is INT8 \[-1, 1, 8, 8\]; UINT8 or FP32"),
        (Dialect(image_shape=(64,)), {}, r"is UINT8 \[-1, 64\]"),
    ],
)
def test_a_model_that_cannot_be_understood_is_said_before_anything_is_asked(
    dialect: Dialect, flags: dict[str, Any], words: str
) -> None:
    with ForeignServer(zeros, dialect) as server, told_client(server, **flags) as teacher:
        with pytest.raises(InvalidConfig, match=words):
            teacher.metadata()
        assert server.questions == []


@pytest.mark.parametrize("told", ["fc7", "=logits", "fc7=boxes"])
def test_an_output_without_a_meaning_is_refused(told: str) -> None:
    with pytest.raises(InvalidConfig, match=f"--teacher-output is '{told}'"):
        ServedModel.told("m", told, None)


@pytest.mark.parametrize("told", ["1", "1,0", "0,0", "0,inf", "0,nan", "a,b", "0,1,2"])
def test_a_pixel_range_that_is_none_is_refused(told: str) -> None:
    with pytest.raises(InvalidConfig, match=f"--pixel-range is '{told}'"):
        ServedModel.told("m", None, told)


def test_a_batch_that_is_too_large_is_said_in_the_servers_words_and_with_the_way_out() -> None:
    with met(TEACHER.logits, Dialect(largest_batch=4)) as (teacher, _, _):
        with pytest.raises(InvalidRequest, match=r"batch size must be <= 4\. .*5 images.*`request = 2`.*--config"):
            teacher.ask(IMAGES, LOGITS, "a")
        assert len(teacher.ask(IMAGES[:4], LOGITS, "b").values) == 4


def test_another_model_than_the_server_has_is_said_with_the_flag_that_names_it() -> None:
    with ForeignServer(TEACHER.logits, OTHER) as server:
        teacher = TeacherClient(server.url, SecretStr(""), patience=1)
        with teacher, pytest.raises(NotFound, match=r"unknown path.* asked for as 'teacher'; --model"):
            teacher.metadata()


def test_questions_about_files_go_to_another_server_too(tmp_path: Path) -> None:
    Image.fromarray(IMAGES[0, 0]).save(file := tmp_path / "a.png")
    with met(TEACHER.logits) as (teacher, _, _):
        (row,), usage = ask_about([file], teacher, None, resize=False)
    assert row["class"] == labels(IMAGES[:1])[0] and usage is None
