"""What somebody who attacks the service learns, and what he can use up: section by section of the order of checks."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from server.auth import authenticate, key_hash, new_key
from server.ledger.protocol import Account, Client
from server.settings import Settings
from shared.codec import encode_request
from shared.errors import Unauthorized
from shared.protocol import IDEMPOTENCY_KEY
from tests.conftest import LiveServer, Serve
from tests.server.asking import INFER, ask, get, post, problem, some_images

NOISE = "0123456789abcdef"
ACCOUNT = Account("edge-1", 10, "logits", 10)


class CountingLedger:
    """Knows one key, and counts what it is asked."""

    def __init__(self, client: Client) -> None:
        self.known, self.asked = client, 0

    async def client(self, key_hash: bytes) -> Client | None:
        self.asked += 1
        return self.known if key_hash == self.known.key_hash else None


def test_every_key_takes_the_same_steps_whether_unknown_revoked_or_expired() -> None:
    for revoked, expires in ((1.0, None), (None, 1.0)):
        key = new_key()
        account = Account("edge-1", 10, "logits", 10, expires)
        ledger: Any = CountingLedger(Client(1, account, 0, revoked, key_hash(key)))
        texts = set()
        for presented in (key, new_key(), "mekd_", "", "k" * 10_000, "ключ"):
            before = ledger.asked
            with pytest.raises(Unauthorized) as caught:
                asyncio.run(authenticate(ledger, f"Bearer {presented}", now=2.0))
            assert ledger.asked == before + 1
            texts.add(str(caught.value))
        assert len(texts) == 1


def test_the_time_of_a_refusal_does_not_tell_a_revoked_key_from_an_unknown_one(live_server: LiveServer) -> None:
    revoked = live_server.make_key()
    live_server.revoke(revoked)
    seconds: dict[str, list[float]] = {revoked: [], new_key(): []}
    with httpx.Client() as http:
        for _ in range(200):
            for key, times in seconds.items():
                started = time.perf_counter()
                http.get(live_server.url + "/v1/usage", headers={"Authorization": f"Bearer {key}"})
                times.append(time.perf_counter() - started)
    one, other = map(statistics.median, seconds.values())
    assert abs(one - other) < 0.5 * min(one, other)


def refused_in_order(server: LiveServer) -> Iterator[tuple[int, httpx.Response]]:
    """A request with every fault, then without the first of them, and so on."""
    good, key = encode_request(some_images(2), "logits"), server.make_key(budget=3, policy="top1")
    label = encode_request(some_images(4), "label")
    url, unknown = server.url + INFER, new_key()

    def send(by: str, body: bytes, headers: dict[str, str], to: str = url) -> httpx.Response:
        return httpx.post(to, content=body, headers={"Authorization": f"Bearer {by}", **headers})

    bad = {IDEMPOTENCY_KEY: "a b", "Content-Encoding": "gzip"}
    long = b"x" * (server.meter.settings.body_bytes + 1)
    other = server.url + "/v2/models/other/infer"
    yield 401, send(unknown, long, bad, other)
    yield 404, send(key, long, bad, other)
    yield 400, send(key, long, bad)
    yield 415, send(key, long, {"Content-Encoding": "gzip"})
    yield 413, send(key, long, {})
    yield 400, send(key, b"x" * 10, {})
    yield 403, send(key, good.body, good.headers)
    yield 402, send(key, label.body, label.headers)


def test_checks_come_in_a_fixed_order_the_cheapest_first_and_none_costs_anything(serve: Serve) -> None:
    server = serve(body_bytes=4096)
    for status, response in refused_in_order(server):
        assert response.status_code == status, response.text
    assert server.teacher.batches == []
    assert {client.spent for client in server.ledger.clients()} == {0}


def test_an_answer_has_only_these_headers(live_server: LiveServer) -> None:
    key = live_server.make_key()
    common = {"content-length", "content-type", "date", "x-request-id"}
    assert set(get(live_server, "/v2").headers) == common
    assert set(get(live_server, "/v1/usage").headers) == common | {"www-authenticate"}
    assert set(ask(live_server, key, some_images(1)).headers) == common | {
        *("idempotency-key", "inference-header-content-length", "ratelimit", "ratelimit-policy")
    }


def test_refusals_tell_neither_paths_nor_code_nor_what_was_sent(live_server: LiveServer) -> None:
    key = live_server.make_key()
    texts = [
        post(live_server, key, b'{"inputs": [{"name": "needle", "datatype": "needle", "shape": ["needle"]}]}').text,
        post(live_server, key, b'{"needle": ' + b"[" * 5000).text,
        post(live_server, "needle", b"").text,
        get(live_server, "/v1/results/needle", key).text,
    ]
    for text in texts:
        assert not any(word in text for word in ("needle", "Traceback", ".py", "pydantic", "sqlite", key))


def test_secrets_do_not_print() -> None:
    settings = Settings.model_validate(
        {"rate_limits": "redis://:hunter2@host", "ledger": "postgresql://me:hunter2@host", "noise_secret": NOISE}
    )
    client = Client(1, ACCOUNT, 0, None, key_hash("mekd_x"))
    printed = repr((settings, client)) + str(settings) + settings.model_dump_json()
    assert not any(secret in printed for secret in ("hunter2", NOISE, repr(key_hash("mekd_x"))))


def test_the_description_of_the_api_is_served_only_where_a_setting_says_so(serve: Serve) -> None:
    problem(get(serve(), "/openapi.json"), 404, "not-found")
    described = serve(openapi=True)
    assert "/v2/models/{model}/infer" in get(described, "/openapi.json").json()["paths"]
    for path in ("/docs", "/redoc"):
        problem(get(described, path), 404, "not-found")
