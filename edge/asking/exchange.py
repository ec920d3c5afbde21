"""One HTTP exchange with a teacher's server, as patient as a paid answer deserves, whatever the protocol above it.

Whatever goes wrong on the way is either final, and raised at once as the class that the server meant, or is tried
again with the *same* content until `patience` seconds have passed without success. A server that keeps the answer
of an idempotency key charges it once, so trying again is always safe there:

    429                                    wait as long as Retry-After says; costs no patience
    409, 5xx, broken socket or body        back off with full jitter
    everything else                        final
"""

import copy
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Self, TypedDict

import httpx
from pydantic import SecretStr

from edge.asking.wire_bytes import CountingTransport
from shared.errors import (
    ApiError,
    ForeignAnswer,
    InvalidConfig,
    RateLimited,
    RequestInFlight,
    Unreachable,
    from_problem,
    in_words,
)

FIRST_CONTACT_PATIENCE = 3.0  # seconds: a wrong URL should be told while the person still looks
KEEPALIVE_EXPIRY = 30.0  # seconds: longer than a training step, shorter than the server's 75
CONNECT_TIMEOUT = 5.0  # seconds
BACK_OFF_FIRST, BACK_OFF_LAST = 0.25, 5.0  # seconds: ceilings of the first wait and of every later one
LONGEST_WAIT = 3600  # seconds: whatever Retry-After says, ask again after this

NO_HEADERS: Mapping[str, str] = {}

_jitter = random.SystemRandom()  # clients that start together must not come back together


class ExchangeOptions(TypedDict, total=False):
    """Seams of `Exchange`, for those who hand them on."""

    http: httpx.Client | None
    patience: float
    timeout: float
    sleep: Callable[[float], None]
    clock: Callable[[], float]


class Exchange(AbstractContextManager["Exchange"]):
    """Sends requests to one server with one key; use it as a context manager, or `close` it.

    Args:
        url: where the server is, for instance `http://127.0.0.1:8000`.
        key: API key, sent as a bearer token; empty for a server that wants none. Never printed.
        protocol: what the server should speak, for the message when it does not.
        http: another httpx client, which the caller closes. Bytes are counted on `CountingTransport`s only.
        patience: seconds without success after which a request is given up.
        timeout: seconds of silence after which one attempt is given up.
        sleep: waits for some seconds; may raise `Stopped` to end the waiting.
        clock: seconds, monotonic.

    Raises:
        InvalidConfig: `url` is not an http(s) URL, or `key` cannot be sent in a header.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr,
        *,
        protocol: str = "the Open Inference Protocol",
        http: httpx.Client | None = None,
        patience: float = 120.0,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = _checked_url(url)
        self.key = _checked_key(key)
        self._protocol = protocol
        self._http = http or httpx.Client(transport=CountingTransport(keepalive_expiry=KEEPALIVE_EXPIRY))
        self._owns_http = http is None
        self._patience = patience
        self._timeout = timeout
        self._sleep = sleep
        self._clock = clock
        self._met = False

    def __repr__(self) -> str:
        return f"Exchange({self.url!r})"

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless the caller brought them."""
        if self._owns_http:
            self._http.close()

    def over(self, http: httpx.Client) -> Self:
        """The same exchange over another httpx client, which the caller closes."""
        other = copy.copy(self)
        other._http, other._owns_http = http, False
        return other

    def get(self, path: str, headers: Mapping[str, str] = NO_HEADERS) -> httpx.Response:
        """The answer with status 200; the first contact is given up within seconds.

        Raises:
            Unreachable: nobody answers at the URL.
            ForeignAnswer: somebody answers as no server of the protocol does.
            ApiError: the server refuses.
        """
        return self._send("GET", path, None, headers)

    def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The answer with status 200, after as many attempts as patience allows; raises as `get` does."""
        self._met = True  # a question deserves the whole patience, whoever was asked first
        return self._send("POST", path, content, headers)

    def foreign(self, what: str) -> ForeignAnswer:
        """The error that says that the server answered with `what`, which the protocol does not know."""
        return ForeignAnswer(f"{self.url} answers, but does not speak {self._protocol} ({what}). Correct the URL.")

    def _send(self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]) -> httpx.Response:
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
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Response | tuple[ApiError | Unreachable, int]:
        """One try: the answer with status 200, or why to try again and the seconds to wait at least."""
        timeout = self._timeout if self._met else min(self._timeout, FIRST_CONTACT_PATIENCE)
        try:
            response = self._http.request(
                method,
                self.url + path,
                content=content,
                headers={"Accept-Encoding": "identity", **self._authorization, **headers},
                timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            )
        except httpx.RequestError as error:
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            hint = "Start the server or correct the URL, then run the same command again"
            return Unreachable(f"Nobody answers at {self.url} ({reason}). {hint}."), 0
        if response.status_code == httpx.codes.OK:
            self._met = True
            return response
        failure = self._failure(response)
        if isinstance(failure, RateLimited | RequestInFlight) or response.is_server_error:
            return failure, _retry_after(response)
        raise failure

    @property
    def _authorization(self) -> dict[str, str]:
        secret = self.key.get_secret_value()
        return {"Authorization": f"Bearer {secret}"} if secret else {}

    def _failure(self, response: httpx.Response) -> ApiError:
        """The error that the server meant; raises ForeignAnswer where only another kind of server answers so."""
        document = {"detail": f"{response.url} answered {response.status_code} {response.reason_phrase}."}
        with suppress(ValueError):
            if isinstance(told := response.json(), dict):
                return from_problem(response.status_code, told if in_words(told) else document | told)
        if response.status_code < 400 or response.status_code in (404, 405):
            raise self.foreign(f"status {response.status_code}")
        return from_problem(response.status_code, document)


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
