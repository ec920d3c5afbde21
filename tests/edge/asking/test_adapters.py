"""Teachers behind other APIs. The responder here shares no code with the adapter."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydantic import SecretStr
from typer.testing import CliRunner

from edge.adapters.loading import load
from edge.adapters.tensorflow_serving import TensorFlowServing
from edge.asking.client import TeacherClient
from edge.asking.exchange import Exchange
from edge.asking.served_model import ServedModel
from edge.cli import app
from edge.run import run
from edge.run_folder import RunFolder
from shared.errors import BudgetExhausted, ForeignAnswer, InvalidConfig, NotFound, OutputNotAllowed, Unauthorized
from shared.protocol import LABEL, LOGITS, ModelMetadata
from tests.conftest import LiveServer
from tests.edge.small import small_config
from tests.fakes import LinearTeacher
from tests.foreign_oip_server import Model

SHAPE = (3, 4, 2)
"""Three sizes that differ, so that swapped axes are seen."""
IMAGES = np.random.default_rng(0).integers(0, 256, (5, *SHAPE), np.uint8)
TINY = """
budget = 100
[deprivatization]
steps = 4
batch = 8
width = 8
[distillation]
steps = 4
batch = 8
"""
PATH = "edge.adapters.tensorflow_serving:TensorFlowServing"


@dataclass
class Signature:
    """What the responder serves as `digits`, layout [N, H, W, C]."""

    outputs: dict[str, Model]
    shape: tuple[int, int, int] = SHAPE
    dtype: str = "DT_UINT8"
    scale: float = 1.0
    refusals: list[int] = field(default_factory=list)
    """Statuses of the next answers."""
    answer: dict[str, Any] | None = None
    """Instead of predictions."""

    def metadata(self) -> dict[str, Any]:
        channels, height, width = self.shape

        def tensor(dtype: str, *sizes: int) -> dict[str, Any]:
            dims = [{"size": str(size), "name": ""} for size in sizes]
            return {"dtype": dtype, "name": "x:0", "tensor_shape": {"dim": dims, "unknown_rank": False}}

        rows = {name: model(np.zeros((1, *self.shape), np.uint8)).shape[1:] for name, model in self.outputs.items()}
        default = {
            "inputs": {"image": tensor(self.dtype, -1, height, width, channels)},
            "outputs": {name: tensor("DT_FLOAT", -1, *row) for name, row in rows.items()},
            "method_name": "tensorflow/serving/predict",
        }
        signatures = {"signature_def": {"serving_default": default}}
        return {"model_spec": {"name": "digits", "version": "1"}, "metadata": {"signature_def": signatures}}

    def predict(self, question: dict[str, Any]) -> dict[str, Any]:
        channels, height, width = self.shape
        pixels = np.array(question["instances"]) * self.scale
        assert question["signature_name"] == "serving_default"
        assert pixels.shape[1:] == (height, width, channels)
        images = np.moveaxis(pixels.round().astype(np.uint8), 3, 1)
        named = {name: model(images).tolist() for name, model in self.outputs.items()}
        rows = [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]
        return {"predictions": rows if len(named) > 1 else next(iter(named.values()))}


@contextmanager
def serving(signature: Signature) -> Iterator[str]:
    """The URL of a TensorFlow Serving that serves `signature`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            known = self.path == "/v1/models/digits/metadata"
            self.reply(200 if known else 404, signature.metadata() if known else {"error": "Servable not found"})

        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if signature.refusals:
                return self.reply(signature.refusals.pop(0), {"error": "refused"})
            if self.path != "/v1/models/digits:predict":
                return self.reply(404, {"error": "no such path"})
            return self.reply(200, signature.answer or signature.predict(question))

        def reply(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def met(
    signature: Signature, name: str = "digits", output: str | None = "scores=logits", pixel_range: str | None = None
) -> Iterator[tuple[TensorFlowServing, ModelMetadata]]:
    with serving(signature) as url, Exchange(url, SecretStr("k"), sleep=lambda _: None) as exchange:
        teacher = TensorFlowServing(exchange, ServedModel.told(name, output, pixel_range))
        yield teacher, teacher.metadata()


def labels(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.asarray(LinearTeacher(SHAPE).logits(images).argmax(1))


def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return LinearTeacher(SHAPE).logits(images)


def test_tensorflow_serving_answers_what_its_model_computes() -> None:
    with met(Signature({"scores": logits})) as (teacher, metadata):
        reply = teacher.ask(IMAGES, LOGITS, "a")
    assert [(tensor.name, tensor.shape) for tensor in metadata.inputs] == [("images", [-1, *SHAPE])]
    assert [(tensor.name, tensor.shape) for tensor in metadata.outputs] == [(LOGITS, [-1, 10])]
    assert reply.values.dtype == np.float32 and reply.values.tobytes() == logits(IMAGES).tobytes()
    assert reply.bytes_up > IMAGES.size and reply.bytes_down > 50 and not reply.replayed


def test_tensorflow_serving_is_given_real_pixels_in_the_range_told() -> None:
    with met(Signature({"scores": logits}, dtype="DT_FLOAT", scale=255), pixel_range="0,1") as (teacher, _):
        assert (teacher.ask(IMAGES, LOGITS, "a").values == logits(IMAGES)).all()


def test_one_of_several_outputs_is_picked_by_its_name() -> None:
    with met(Signature({"scores": logits, "label": labels}), output=None) as (teacher, metadata):
        assert teacher.ask(IMAGES, LABEL, "a").values.tolist() == labels(IMAGES).tolist()
    assert [tensor.name for tensor in metadata.outputs] == [LABEL]


def test_a_run_over_tensorflow_serving_ends_in_the_same_student_as_over_our_server(
    live_server: LiveServer, tmp_path: Path
) -> None:
    with TeacherClient(live_server.url, SecretStr(live_server.make_key()), patience=1) as client:
        run(small_config(), client, tmp_path / "ours")
    with met(Signature({"scores": LinearTeacher().logits}, shape=(1, 8, 8))) as (teacher, _):
        results = run(small_config(), teacher, tmp_path / "theirs")
    students = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("ours", "theirs")]
    assert students[0] == students[1]
    assert results["stages"]["distillation"]["bytes_up"] > 70 * 64


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (402, BudgetExhausted), (403, OutputNotAllowed)])
def test_what_is_final_over_http_is_final_for_an_adapter(status: int, error: type[Exception]) -> None:
    signature = Signature({"scores": logits}, refusals=[status])
    with met(signature) as (teacher, _), pytest.raises(error, match="refused"):
        teacher.ask(IMAGES, LOGITS, "a")


def test_what_may_pass_is_asked_again_for_an_adapter() -> None:
    signature = Signature({"scores": logits}, refusals=[503, 429, 500])
    with met(signature) as (teacher, _):
        assert len(teacher.ask(IMAGES, LOGITS, "a").values) == len(IMAGES)
    assert signature.refusals == []


@pytest.mark.parametrize(
    "answer",
    [
        {"outputs": []},
        {"predictions": [[1.0, 2.0]] * 4},
        {"predictions": [[1.0], [1.0, 2.0], [], [], []]},
        {"predictions": [["a"]] * 5},
        {"predictions": [{"other": [1.0]}] * 5},
        {"predictions": [[None]] * 5},
    ],
    ids=str,
)
def test_predictions_of_another_form_are_foreign(answer: dict[str, Any]) -> None:
    signature = Signature({"scores": logits}, answer=answer)
    with met(signature) as (teacher, _), pytest.raises(ForeignAnswer):
        teacher.ask(IMAGES, LOGITS, "a")


@pytest.mark.parametrize(
    ("dtype", "flags", "error", "words"),
    [
        ("DT_UINT8", {"name": "other"}, NotFound, "Servable not found"),
        ("DT_UINT8", {"output": None}, InvalidConfig, "offers scores; .*--teacher-output scores=logits"),
        ("DT_FLOAT", {}, InvalidConfig, "--pixel-range"),
        ("DT_UINT8", {"pixel_range": "0,1"}, InvalidConfig, "Leave --pixel-range out"),
        ("DT_STRING", {}, InvalidConfig, r"takes \[\('DT_STRING', \[-1, 4, 2, 3\]\)\]"),
    ],
)
def test_a_model_that_does_not_fit_is_said(
    dtype: str, flags: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words), met(Signature({"scores": logits}, dtype=dtype), **flags):
        pass


def test_another_kind_of_server_is_named_with_the_protocol_that_was_expected(live_server: LiveServer) -> None:
    with Exchange(live_server.url, SecretStr(""), protocol="the protocol of x:y") as exchange:
        teacher = TensorFlowServing(exchange, ServedModel())
        with pytest.raises((ForeignAnswer, NotFound)):
            teacher.metadata()
        assert "the protocol of x:y" in str(exchange.foreign("html"))


def test_the_adapter_of_a_path_is_found() -> None:
    assert load(PATH) is TensorFlowServing


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("edge.adapters.tensorflow_serving", r"--adapter is 'edge.*Write package\.module:factory"),
        ("some/file.py:factory", "--adapter is 'some/file.py:factory'"),
        ("no_such_package.teacher:factory", "'no_such_package.teacher', which cannot be imported .*PYTHONPATH"),
        ("edge.adapters.tensorflow_serving:Torch", "has no function or class 'Torch'"),
        ("edge.adapters.tensorflow_serving:SIGNATURE", "has no function or class 'SIGNATURE'"),
    ],
)
def test_a_wrong_path_of_an_adapter_says_which_part_is_wrong(path: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words):
        load(path)


def test_a_module_that_fails_while_it_is_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_adapter.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidConfig, match=r"'broken_adapter', which cannot be imported \(ZeroDivisionError"):
        load("broken_adapter:factory")


def test_the_commands_take_an_adapter_and_no_key(tmp_path: Path) -> None:
    teacher = LinearTeacher()
    signature = Signature({"scores": teacher.logits}, shape=(1, 8, 8))
    image = np.random.default_rng(1).integers(0, 256, (1, 1, 8, 8), np.uint8)
    Image.fromarray(image[0, 0]).save(file := tmp_path / "a.png")
    (config := tmp_path / "tiny.toml").write_text(TINY)
    env = {"MEKD_API_KEY": "", "MEKD_API_KEY_FILE": None, "COLUMNS": "200"}
    with serving(signature) as url:
        flags = ["--server", url, "--adapter", PATH, "--model", "digits", "--teacher-output", "scores=logits"]

        def invoke(*arguments: object) -> str:
            result = CliRunner().invoke(app, [*map(str, arguments), *flags], env=env, catch_exceptions=False)
            assert result.exit_code == 0
            return result.output

        assert f"{teacher.logits(image).argmax()}" in invoke("query", file)
        assert "no meter" in invoke("distill", "--config", config, "--out", tmp_path / "run")
        invoke("evaluate", "--run", tmp_path / "run")
    assert RunFolder(tmp_path / "run").results()["evaluation"]["queries"] == 400
