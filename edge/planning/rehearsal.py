"""What a question puts on the wire and takes from it, to the byte, without asking it.

The very client sends the very request, but on a connection in memory that leads nowhere and holds an answer of the
size that `mekd-server` gives. So nothing here knows how a request is written.
"""

import ssl
import uuid
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import httpcore
import httpx
import numpy as np

from edge.asking.client import TeacherClient
from edge.asking.same_teacher import latest_version
from edge.asking.wire_bytes import CountingTransport, Traffic, counted
from shared.codec import DATATYPES, encode_response
from shared.errors import PROBLEM_MEDIA, RateLimited
from shared.protocol import IDEMPOTENCY_KEY, LABEL, OUTPUT_DATATYPE, ModelMetadata, Usage

KEY = str(uuid.UUID(int=0))
"""As long as every idempotency key of a run."""


def rehearse(
    teacher: TeacherClient, image_shape: tuple[int, int, int], rows: int, output: str, answer: bytes
) -> Traffic:
    """Bytes and handshakes of a first question about `rows` images [C, H, W] that is answered with `answer`."""
    transport = CountingTransport(keepalive_expiry=0, backend=_InMemory(answer))
    with httpx.Client(transport=transport) as http, counted() as traffic:
        teacher.over(http).ask(np.zeros((rows, *image_shape), np.uint8), output, KEY)
    return traffic


def answer(
    metadata: ModelMetadata, output: str, rows: int, classes: int, rate: tuple[Usage, int, int] | None
) -> bytes:
    """The answer to a question about `rows` images, with zeros for values.

    Args:
        metadata: names the model and its version.
        output: what is asked for.
        rows: images in the question.
        classes: K.
        rate: the key, images that it may still ask about in this minute, and seconds left of the minute.
    """
    values = np.zeros((rows,) if output == LABEL else (rows, classes), DATATYPES[OUTPUT_DATATYPE[output]])
    message = encode_response(metadata.name, latest_version(metadata) or "", {output: (values, True)})
    headers = message.headers | {IDEMPOTENCY_KEY: KEY}
    if rate:
        usage, remaining, seconds = rate
        headers["RateLimit-Policy"] = f'"images";q={usage.images_per_minute};w=60'
        headers["RateLimit"] = f'"images";r={remaining};t={seconds}'
    return _http(HTTPStatus.OK, headers, message.body)


def refusal(usage: Usage, rows: int, seconds: int) -> bytes:
    """The answer to a question about `rows` images that has to wait for `seconds`, because of the key's rate."""
    error = RateLimited(
        f"Key '{usage.client}' may ask about {usage.images_per_minute} images per minute; "
        f"{rows} more fit in {seconds} s.",
        retry_after=seconds,
    )
    document = error.problem() | {"request_id": uuid.UUID(int=0).hex}
    headers = {"Retry-After": str(seconds), "Content-Type": PROBLEM_MEDIA}
    content = httpx.Response(error.status, json=document).content
    return _http(HTTPStatus.TOO_MANY_REQUESTS, headers, content)


def _http(status: HTTPStatus, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole answer as uvicorn writes it and `server.observability` names it."""
    named = {
        "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
        "X-Request-Id": uuid.UUID(int=0).hex,
        "Content-Length": str(len(body)),
    }
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {text}" for name, text in {**headers, **named}.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _InMemory(httpcore.NetworkBackend):
    """Every connection takes what is written, and then gives `answer`."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Prepared(self._answer)


class _Prepared(httpcore.NetworkStream):
    def __init__(self, answer: bytes) -> None:
        self._left = answer

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        part, self._left = self._left[:max_bytes], self._left[max_bytes:]
        return part

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return None
