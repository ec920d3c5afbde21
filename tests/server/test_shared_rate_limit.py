"""Rate limits in a store that replicas share: a real Redis, started here. Valkey speaks the same."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from server.ledger.protocol import Account, Client
from server.rate_limit import open_rate_limiter
from shared.errors import InvalidConfig, RateLimited, Unavailable
from tests.conftest import Serve
from tests.server.asking import ask, problem, some_images

STORE = next(filter(None, map(shutil.which, ("redis-server", "valkey-server"))), None)
needs_store = pytest.mark.skipif(STORE is None, reason="neither redis-server nor valkey-server is on the PATH")
CLIENT = Client(1, Account("edge-1", 1000, "logits", 10), 0, None, b"")


@pytest.fixture
def store() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A store of its own, and its URL with a password."""
    assert STORE is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [STORE, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "hunter2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while b"Ready to accept connections" not in process.stdout.readline():
            assert process.poll() is None
        yield process, f"redis://:hunter2@127.0.0.1:{port}"
        process.kill()


@needs_store
def test_replicas_share_one_rate(serve: Serve, store: tuple[subprocess.Popen[bytes], str]) -> None:
    one = serve(rate_limits=store[1])
    other = serve(rate_limits=SecretStr(store[1]), ledger_path=one.ledger_path)
    key = one.make_key(images_per_minute=10)
    assert ask(one, key, some_images(6)).headers["RateLimit"].startswith('"images";r=4;')
    assert problem(ask(other, key, some_images(5)), 429, "rate-limited")["retry_after"] >= 1
    assert ask(other, key, some_images(4)).headers["RateLimit"].startswith('"images";r=0;')
    assert one.spent(key) == 10


@needs_store
def test_what_cannot_be_counted_is_not_admitted_and_what_was_paid_is_still_sent(
    serve: Serve, store: tuple[subprocess.Popen[bytes], str]
) -> None:
    process, url = store
    server = serve(rate_limits=url)
    key = server.make_key()
    first = ask(server, key, some_images(2), idempotency_key="k")
    process.kill()
    process.wait()
    document = problem(ask(server, key, some_images(2)), 503, "unavailable")
    assert "store of the rate limits does not answer" in document["detail"]
    assert "hunter2" not in str(document)
    again = ask(server, key, some_images(2), idempotency_key="k")
    assert (again.status_code, again.content) == (200, first.content)
    assert "RateLimit" not in again.headers
    assert server.spent(key) == 2


@needs_store
def test_a_wait_that_the_store_tells_is_long_enough(store: tuple[subprocess.Popen[bytes], str]) -> None:
    async def play() -> int:
        limiter = open_rate_limiter(store[1])
        await limiter.admit(CLIENT, 10)
        with pytest.raises(RateLimited) as caught:
            await limiter.admit(CLIENT, 1)
        await limiter.close()
        return int(caught.value.members["retry_after"])

    assert 60 <= asyncio.run(play()) <= 70


def test_a_store_that_is_away_refuses_within_seconds() -> None:
    async def play() -> None:
        limiter = open_rate_limiter("redis://127.0.0.1:1")
        with pytest.raises(Unavailable, match="does not answer"):
            await limiter.admit(CLIENT, 1)
        await limiter.close()

    started = time.perf_counter()
    asyncio.run(play())
    assert time.perf_counter() - started < 10


def test_an_unknown_kind_of_store_is_refused_without_showing_its_password() -> None:
    with pytest.raises(InvalidConfig, match=r"no store of rate limits for 'memcached://'") as caught:
        open_rate_limiter("memcached://:hunter2@host")
    assert "hunter2" not in str(caught.value)
