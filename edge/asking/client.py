"""A teacher behind the Open Inference Protocol, on our server or another: metadata, usage, questions about images."""

import copy
from contextlib import AbstractContextManager
from typing import Self, TypeVar, Unpack
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr, ValidationError

from edge.asking.exchange import Exchange, ExchangeOptions
from edge.asking.served_model import ServedModel
from edge.asking.teacher import Reply, checked_values
from edge.asking.wire_bytes import counted
from edge.asking.wire_form import WireForm, learn
from shared.codec import decode_response
from shared.errors import ApiError, ForeignAnswer, InvalidRequest, NotFound, PayloadTooLarge
from shared.protocol import (
    BINARY_EXTENSION,
    HEADER_LENGTH,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    ModelMetadata,
    ServerMetadata,
    Usage,
    Wire,
)

Document = TypeVar("Document", bound=Wire)
OUR_TEACHER = ServedModel()
UNKNOWN_PATH = (NotFound, InvalidRequest, ForeignAnswer)
"""How Open Inference servers refuse a path that they do not know."""


class TeacherClient(AbstractContextManager["TeacherClient"]):
    """Speaks to one model of one server with one key; use it as a context manager, or `close` it.

    Of another server than ours `metadata` has to be asked first: it learns in which form the server wants questions.

    Args:
        url: where the server is, for instance `http://127.0.0.1:8000`.
        key: API key; empty for a server that wants none. Never printed.
        model: its name in the URL, and what the server does not tell of it.
        options: seams of the exchange, see `edge.asking.exchange.Exchange`.

    Raises:
        InvalidConfig: `url` is not an http(s) URL, or `key` cannot be sent in a header.
    """

    def __init__(
        self, url: str, key: SecretStr, model: ServedModel = OUR_TEACHER, **options: Unpack[ExchangeOptions]
    ) -> None:
        self._exchange = Exchange(url, key, **options)
        self._model = model
        self._form = WireForm(model)

    def __repr__(self) -> str:
        return f"TeacherClient({self._exchange.url!r}, model={self._model.name!r})"

    def __exit__(self, *exception: object) -> None:
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
        """What the model takes, and which outputs this key may see; in our names, whatever the server calls them.

        Raises:
            Unreachable: nobody answers at the URL; on the first contact within seconds.
            ForeignAnswer: somebody answers, but not the protocol.
            ApiError: the server refuses.
            InvalidConfig: the model needs a flag to be understood, or is none that takes images.
        """
        try:
            response = self._exchange.get(self._model_path)
        except (NotFound, InvalidRequest) as refusal:  # Triton answers 400
            hint = f"The model was asked for as '{self._model.name}'; --model gives it another name."
            raise _with_hint(refusal, hint) from None
        told = self._parsed(ModelMetadata, response)
        self._form, ours = learn(told, self._model, binary=self._speaks_binary())
        return ours

    def usage(self) -> Usage | None:
        """Budget and limits of this key; None where the server has no meter. Raises as `metadata` does."""
        try:
            response = self._exchange.get("/v1/usage")
        except UNKNOWN_PATH:
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
        message = self._form.encode(images, output)
        headers = message.headers | {IDEMPOTENCY_KEY: key}
        try:
            with counted() as traffic:
                response = self._exchange.post(f"{self._model_path}/infer", message.body, headers)
        except (InvalidRequest, PayloadTooLarge) as refusal:
            if len(images) > 1:
                raise _with_hint(refusal, _fewer_than(len(images))) from None
            raise
        answered = decode_response(response.content, response.headers.get(HEADER_LENGTH))
        values = checked_values(self._form.pick(answered, output), output, len(images))
        replayed = response.headers.get(IDEMPOTENCY_REPLAYED, "").lower() == "true"
        return Reply(values, traffic.up, traffic.down, replayed)

    @property
    def _model_path(self) -> str:
        return f"/v2/models/{quote(self._model.name, safe='')}"

    def _speaks_binary(self) -> bool:
        try:
            server = self._parsed(ServerMetadata, self._exchange.get("/v2"))
        except UNKNOWN_PATH:
            return False
        return BINARY_EXTENSION in (server.extensions or [])

    def _parsed(self, kind: type[Document], response: httpx.Response) -> Document:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise self._exchange.foreign(response.headers.get("Content-Type", "no content type")) from None


def _with_hint(refusal: ApiError, hint: str) -> ApiError:
    return type(refusal)(f"{str(refusal).rstrip('.')}. {hint}", **refusal.members)


def _fewer_than(images: int) -> str:
    return (
        f"If {images} images are too many for one request, have fewer with `request = {images // 2}` in the file of "
        "--config, and another --out."
    )
