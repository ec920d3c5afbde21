"""A teacher behind the Open Inference Protocol: metadata, usage, and questions about images."""

import copy
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr, ValidationError

from edge.exchange import Exchange, ExchangeOptions
from edge.teacher import Reply
from edge.wire_bytes import counted
from shared.codec import decode_response, encode_request
from shared.errors import ForeignAnswer, InvalidRequest, NotFound
from shared.protocol import (
    HEADER_LENGTH,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    LABEL,
    ModelMetadata,
    Usage,
    Wire,
)

Document = TypeVar("Document", bound=Wire)


class TeacherClient:
    """Speaks to one model of one server with one key; use it as a context manager, or `close` it.

    Args:
        url: where the server is, for instance `http://127.0.0.1:8000`.
        key: API key; empty for a server that wants none. Never printed.
        model: the model's name in the URL.
        options: seams of the exchange, see `edge.exchange.Exchange`.

    Raises:
        InvalidConfig: `url` is not an http(s) URL, or `key` cannot be sent in a header.
    """

    def __init__(self, url: str, key: SecretStr, model: str = "teacher", **options: Unpack[ExchangeOptions]) -> None:
        self._exchange = Exchange(url, key, **options)
        self._model = model

    def __repr__(self) -> str:
        return f"TeacherClient({self._exchange.url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the caller brought them."""
        self._exchange.close()

    def over(self, http: httpx.Client) -> Self:
        """The same teacher over another httpx client, which the caller closes."""
        other = copy.copy(self)
        other._exchange = self._exchange.over(http)
        return other

    def metadata(self) -> ModelMetadata:
        """What the model takes, and which outputs this key may see.

        Raises:
            Unreachable: nobody answers at the URL; on the first contact within seconds.
            ForeignAnswer: somebody answers, but not the protocol.
            ApiError: the server refuses.
        """
        return self._parsed(ModelMetadata, self._exchange.get(self._model_path))

    def usage(self) -> Usage | None:
        """Budget and limits of this key; None where the server has no meter. Raises as `metadata` does."""
        try:
            response = self._exchange.get("/v1/usage")
        except (NotFound, InvalidRequest, ForeignAnswer):  # how OIP servers refuse a path that they do not know
            return None
        return self._parsed(Usage, response)

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        """The teacher's `output` for `images` uint8 [N, C, H, W], paid once per idempotency `key`.

        Raises:
            BudgetExhausted: nothing was charged; the member `remaining` says how many images can be paid.
            Unreachable: no success for `patience` seconds; the same key may have been charged, and asks again free.
            ForeignAnswer: the answer does not hold `output` with one finite row per image.
            ApiError: the server refuses.
        """
        message = encode_request(images, output)
        headers = message.headers | {IDEMPOTENCY_KEY: key}
        with counted() as traffic:
            response = self._exchange.post(f"{self._model_path}/infer", message.body, headers)
        answered = decode_response(response.content, response.headers.get(HEADER_LENGTH))
        values = _checked_values(answered, output, len(images))
        replayed = response.headers.get(IDEMPOTENCY_REPLAYED, "").lower() == "true"
        return Reply(values, traffic.up, traffic.down, replayed)

    @property
    def _model_path(self) -> str:
        return f"/v2/models/{quote(self._model, safe='')}"

    def _parsed(self, kind: type[Document], response: httpx.Response) -> Document:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise self._exchange.foreign(response.headers.get("Content-Type", "no content type")) from None


def _checked_values(answered: Mapping[str, NDArray[Any]], output: str, rows: int) -> NDArray[Any]:
    """Values of `output`, in native byte order and writable; one finite row per image."""
    if output not in answered:
        raise ForeignAnswer(f"The server was asked for '{output}' and answered {sorted(answered) or 'nothing'}.")
    values = answered[output]
    kind, axes = ("i", 1) if output == LABEL else ("f", 2)
    if values.dtype.kind != kind or values.ndim != axes or len(values) != rows or 0 in values.shape:
        found = f"{values.dtype} {list(values.shape)}"
        raise ForeignAnswer(f"The server answered '{output}' as {found} to a question about {rows} images.")
    if not np.isfinite(values).all():
        raise ForeignAnswer(f"The server answered '{output}' with values that are not finite numbers.")
    return values.astype(np.int64 if kind == "i" else np.float32)
