"""Short ways to ask a live server."""

from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from shared.codec import Array, decode_response, encode_request
from shared.protocol import HEADER_LENGTH, IDEMPOTENCY_KEY
from tests.conftest import LiveServer

INFER = "/v2/models/teacher/infer"


def some_images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images uint8 [count, 1, 8, 8]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)


def ask(
    server: LiveServer,
    key: str,
    images: NDArray[np.uint8],
    output: str = "logits",
    *,
    binary: bool = True,
    idempotency_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    message = encode_request(images, output, binary=binary)
    chosen = {} if idempotency_key is None else {IDEMPOTENCY_KEY: idempotency_key}
    return post(server, key, message.body, {**message.headers, **chosen, **(headers or {})})


def post(server: LiveServer, key: str, body: Any, headers: Mapping[str, str] | None = None) -> httpx.Response:
    bearer = {"Authorization": f"Bearer {key}"}
    return httpx.post(server.url + INFER, content=body, headers={**bearer, **(headers or {})}, timeout=30)


def get(server: LiveServer, path: str, key: str | None = None) -> httpx.Response:
    return httpx.get(server.url + path, headers={} if key is None else {"Authorization": f"Bearer {key}"})


def values(response: httpx.Response) -> dict[str, Array]:
    assert response.status_code == 200, response.text
    return decode_response(response.content, response.headers.get(HEADER_LENGTH))


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of a refusal, which must be well formed."""
    document: dict[str, Any] = response.json()
    assert (response.status_code, document["type"]) == (status, f"urn:mekd:error:{code}"), document
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document["status"] == status
    assert document["error"] == document["detail"]
    assert document["request_id"] == response.headers["X-Request-Id"]
    if "retry_after" in document:
        assert response.headers["Retry-After"] == str(document["retry_after"])
    return document
