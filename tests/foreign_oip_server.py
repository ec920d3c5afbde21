"""An Open Inference server that shares nothing with ours: stdlib HTTP, own parsing, own names; no meter, no keys.

Strict about what its model was declared to take, as Triton and OpenVINO are: anything else is a 400 with `error`.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

NUMPY = {"UINT8": "u1", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8", "BYTES": "u1"}

Model = Callable[[NDArray[np.uint8]], NDArray[Any]]


@dataclass(frozen=True)
class Dialect:
    """How this server is declared; the defaults are as far from ours as a classifier in Triton may be."""

    model: str = "resnet 50"
    input: str = "input__0"
    datatype: str = "UINT8"
    pixel_range: tuple[float, float] = (0, 255)
    output: str = "fc7"
    answers: str = "FP32"
    image_shape: tuple[int, ...] = (1, 8, 8)
    batch_axis: bool = True
    binary: bool = True
    largest_batch: int = 1000


class ForeignServer:
    """A context manager; serves `model`, which maps images uint8 [N, C, H, W] to answers [N, ...]."""

    def __init__(self, model: Model, dialect: Dialect) -> None:
        self.model, self.dialect = model, dialect
        self.questions: list[bytes] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                known = {"/v2": owner.server_metadata(), owner.model_path: owner.model_metadata()}
                found = self.path in known
                self.reply(
                    200 if found else 404,
                    json.dumps(known[self.path] if found else {"error": "unknown path"}).encode(),
                )

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    text, blob = owner.infer(self.path, body, self.headers["Inference-Header-Content-Length"])
                except (ValueError, KeyError, AssertionError) as error:
                    return self.reply(400, json.dumps({"error": f"{error}"}).encode())
                headers = {"Inference-Header-Content-Length": str(len(text))} if blob else {}
                return self.reply(200, text + blob, headers)

            def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    @property
    def model_path(self) -> str:
        return "/v2/models/" + self.dialect.model.replace(" ", "%20")

    def server_metadata(self) -> dict[str, Any]:
        return {
            "name": "foreign",
            "version": "1",
            "extensions": ["binary_tensor_data"] if self.dialect.binary else [],
        }

    def model_metadata(self) -> dict[str, Any]:
        d = self.dialect
        batch = [-1] if d.batch_axis else []
        row = list(self.model(np.zeros((1, *d.image_shape), np.uint8)).shape[1:])
        return {
            "name": d.model,
            "versions": None,
            "platform": "foreign",
            "inputs": [{"name": d.input, "datatype": d.datatype, "shape": [*batch, *d.image_shape]}],
            "outputs": [{"name": d.output, "datatype": d.answers, "shape": [*batch, *row]}],
        }

    def infer(self, path: str, body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
        d = self.dialect
        assert path == f"{self.model_path}/infer", f"no model at {path}"
        assert d.binary or header_length is None, "binary data are not supported"
        length = len(body) if header_length is None else int(header_length)
        header, blob = json.loads(body[:length]), body[length:]
        (tensor,), (wanted,) = header["inputs"], header["outputs"]
        found = (tensor["name"], tensor["datatype"], tensor["shape"][1:], wanted["name"])
        assert found == (d.input, d.datatype, list(d.image_shape), d.output), f"unexpected {found}"
        assert tensor["shape"][0] <= d.largest_batch, f"batch size must be <= {d.largest_batch}."
        data = tensor["data"] if header_length is None else np.frombuffer(blob, NUMPY[d.datatype])
        low, high = d.pixel_range
        pixels = (np.array(data, np.float64).reshape(tensor["shape"]) - low) / (high - low) * 255
        assert pixels.min() > -0.01 and pixels.max() < 255.01, "pixels out of range"
        self.questions.append(body)
        values = self.model(pixels.round().astype(np.uint8)).astype(NUMPY[d.answers])
        output: dict[str, Any] = {"name": d.output, "datatype": d.answers, "shape": list(values.shape)}
        binary = wanted.get("parameters", {}).get("binary_data", False)
        output |= {"parameters": {"binary_data_size": values.nbytes} if binary else None}
        output |= {} if binary else {"data": values.ravel().tolist()}
        text = json.dumps({"model_name": d.model, "model_version": None, "parameters": None, "outputs": [output]})
        return text.encode(), values.tobytes() if binary else b""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)
