"""The edge's only door to the teacher: metadata, usage, and questions about images, over the Open Inference Protocol.

Whatever goes wrong on the way is either final, and raised at once as the class that the server meant, or is asked
again with the *same* idempotency key until `patience` seconds have passed without success. A server that keeps the
key's answer charges it once, so asking again is always safe:

    429                                    wait as long as Retry-After says; costs no patience
    409, 5xx, broken socket or body        back off with full jitter
    everything else                        final
"""

import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr, ValidationError

from edge.teacher import Reply
from edge.wire_bytes import CountingTransport, counted
from shared.errors import (
    ApiError,
    ForeignAnswer,
    InvalidConfig,
    InvalidRequest,
    NotFound,
    RateLimited,
    RequestInFlight,
    Unreachable,
    from_problem,
)
from shared.protocol import (
    HEADER_LENGTH,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    LABEL,
    ModelMetadata,
    Usage,
    Wire,
    decode_response,
    encode_request,
)

FIRST_CONTACT_PATIENCE = 3.0  # seconds: a wrong URL should be told while the person still looks
KEEPALIVE_EXPIRY = 30.0  # seconds: longer than a training step, shorter than the server's 75
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
BACK_OFF_FIRST, BACK_OFF_LAST = 0.25, 5.0  # seconds: ceilings of the first wait and of every later one
LONGEST_WAIT = 3600  # seconds: whatever Retry-After says, ask again after this

_jitter = random.SystemRandom()  # clients that start together must not come back together

Document = TypeVar("Document", bound=Wire)


class TeacherClient:
    """Speaks to one model of one server with one key; use it as a context manager, or `close` it.

    Args:
        url: where the server is, for instance `http://127.0.0.1:8000`.
        key: API key; empty for a server that wants none. Never printed.
        model: the model's name in the URL.
        http: another httpx client, which the caller closes. Bytes are counted on `CountingTransport`s only.
        patience: seconds without success after which a question is given up.
        sleep: waits for some seconds; may raise `Stopped` to end the waiting.
        clock: seconds, monotonic.

    Raises:
        InvalidConfig: `url` is not an http(s) URL, or `key` cannot be sent in a header.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr,
        model: str = "teacher",
        *,
        http: httpx.Client | None = None,
        patience: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = _checked_url(url)
        self._key = _checked_key(key)
        self._model = model
        self._http = http or httpx.Client(transport=CountingTransport(keepalive_expiry=KEEPALIVE_EXPIRY))
        self._owns_http = http is None
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._met = False

    def __repr__(self) -> str:
        return f"TeacherClient({self._url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the caller brought them."""
        if self._owns_http:
            self._http.close()

    def metadata(self) -> ModelMetadata:
        """What the model takes, and which outputs this key may see.

        Raises:
            Unreachable: nobody answers at the URL; on the first contact within seconds.
            ForeignAnswer: somebody answers, but not the protocol.
            ApiError: the server refuses.
        """
        return self._parsed(ModelMetadata, self._exchange("GET", self._model_path))

    def usage(self) -> Usage | None:
        """Budget and limits of this key; None where the server has no meter. Raises as `metadata` does."""
        try:
            response = self._exchange("GET", "/v1/usage")
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
        self._met = True  # a question deserves the whole patience, whoever was asked first
        with counted() as traffic:
            response = self._exchange("POST", f"{self._model_path}/infer", message.body, headers)
        answered = decode_response(response.content, response.headers.get(HEADER_LENGTH))
        values = _checked_values(answered, output, len(images))
        replayed = response.headers.get(IDEMPOTENCY_REPLAYED, "").lower() == "true"
        return Reply(values, traffic.up, traffic.down, replayed)

    @property
    def _model_path(self) -> str:
        return f"/v2/models/{quote(self._model, safe='')}"

    @property
    def _authorization(self) -> dict[str, str]:
        secret = self._key.get_secret_value()
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def _exchange(
        self, method: str, path: str, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The answer with status 200, after as many attempts as patience allows."""
        patience = self._patience if self._met else min(self._patience, FIRST_CONTACT_PATIENCE)
        since, attempt = self._clock(), 0
        while True:
            answer = self._attempt(method, path, content, headers)
            if isinstance(answer, httpx.Response):
                return answer
            failure, retry_after = answer
            wait = retry_after + _jitter.uniform(0, min(BACK_OFF_LAST, BACK_OFF_FIRST * 2 ** min(attempt, 10)))
            limited = isinstance(failure, RateLimited)
            if not limited and self._clock() - since + wait > patience:
                raise failure
            self._sleep(wait)
            attempt += 1
            if limited:
                since = self._clock()

    def _attempt(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str] | None
    ) -> httpx.Response | tuple[ApiError | Unreachable, int]:
        """One try: the answer with status 200, or why to try again and the seconds to wait at least."""
        try:
            response = self._http.request(
                method,
                self._url + path,
                content=content,
                headers={"Accept-Encoding": "identity", **self._authorization, **(headers or {})},
                timeout=TIMEOUT if self._met else FIRST_CONTACT_PATIENCE,
            )
        except httpx.RequestError as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            hint = "Start the server or correct the URL, then run the same command again"
            return Unreachable(f"Nobody answers at {self._url} ({reason}). {hint}."), 0
        if response.status_code == httpx.codes.OK:
            self._met = True
            return response
        failure = self._failure(response)
        if isinstance(failure, RateLimited | RequestInFlight) or response.is_server_error:
            return failure, _retry_after(response)
        raise failure

    def _failure(self, response: httpx.Response) -> ApiError:
        """The error that the server meant; raises ForeignAnswer where only another kind of server answers so."""
        document = {"detail": f"{response.url} answered {response.status_code} {response.reason_phrase}."}
        with suppress(ValueError):
            if isinstance(told := response.json(), dict):
                return from_problem(response.status_code, document | told)
        if response.status_code < 400 or response.status_code in (404, 405):
            raise self._foreign(f"status {response.status_code}")
        return from_problem(response.status_code, document)

    def _parsed(self, kind: type[Document], response: httpx.Response) -> Document:
        try:
            return kind.model_validate_json(response.content)
        except ValidationError:
            raise self._foreign(response.headers.get("Content-Type", "no content type")) from None

    def _foreign(self, what: str) -> ForeignAnswer:
        return ForeignAnswer(
            f"{self._url} answers, but does not speak the Open Inference Protocol ({what}). Correct the URL."
        )


def _checked_url(url: str) -> str:
    form = "Write it like http://127.0.0.1:8000."
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")  # what the socket will do
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InvalidConfig(f"The server's URL is not one: {error}. {form}") from None
    if parsed.userinfo:
        raise InvalidConfig("The server's URL holds a user name or password. Leave them out: the key is sent apart.")
    is_complete = parsed.scheme in ("http", "https") and parsed.host and 0 <= (parsed.port or 0) < 65536
    if not is_complete or parsed.query or parsed.fragment or any(letter.isspace() for letter in url):
        raise InvalidConfig(f"The server's URL is '{url}'. {form}")
    return str(parsed).rstrip("/")


def _checked_key(key: SecretStr) -> SecretStr:
    secret = key.get_secret_value()
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise InvalidConfig("The API key holds a blank or a character that no key has. Copy it again.")
    return key


def _retry_after(response: httpx.Response) -> int:
    """Seconds that the server asks for; 0 where it gives none, or a date."""
    seconds = response.headers.get("Retry-After", "")
    return min(int(seconds), LONGEST_WAIT) if seconds.isascii() and seconds.isdigit() and len(seconds) < 12 else 0


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
