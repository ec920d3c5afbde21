"""A real server process among clients that are slow, silent, too large or malformed, and while it shuts down."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from server.auth import key_hash, new_key
from server.ledger import open_ledger
from server.ledger.protocol import Account
from shared import architectures, checkpoints
from shared.codec import encode_request
from tests.eventually import eventually
from tests.forked import Forked
from tests.server.asking import INFER, some_images
from tests.server.processes import served_at_once
from tests.server.sockets import connected, head, status

BODY_BYTES, BODY_SECONDS = 100_000, 5
SLOW = 50
"""Connections of each bad kind; far more than one client may have in flight."""


@dataclass
class Process:
    """A server process and one key of its ledger."""

    process: Forked
    url: str
    key: str
    ledger: Path

    def ask(self, count: int = 3, **headers: str) -> httpx.Response:
        message = encode_request(some_images(count), "logits")
        bearer = {"Authorization": f"Bearer {self.key}"}
        return httpx.post(
            self.url + INFER, content=message.body, headers={**message.headers, **bearer, **headers}, timeout=10
        )

    def spent(self) -> int:
        with open_ledger(str(self.ledger)) as ledger:
            (client,) = (client for client in ledger.clients() if client.key_hash == key_hash(self.key))
            return client.spent


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    teacher, path, key = tmp_path / "teacher.safetensors", tmp_path / "ledger.sqlite", new_key()
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(teacher, architectures.build("resnet8", channels=1, classes=10), card)
    with open_ledger(str(path)) as ledger:
        ledger.create(Account("edge-1", 10_000, "logits", 100_000), key_hash(key))
    monkeypatch.setenv("MEKD_SERVER_BODY_BYTES", str(BODY_BYTES))
    monkeypatch.setenv("MEKD_SERVER_BODY_SECONDS", str(BODY_SECONDS))
    monkeypatch.setenv("MEKD_SERVER_IN_FLIGHT_PER_KEY", "8")
    with served_at_once("--teacher", teacher, "--ledger", path) as (process, url):
        yield Process(process, url, key, path)


def test_connections_that_say_nothing_or_little_keep_nobody_from_being_served(running: Process) -> None:
    begun = head(new_key(), "Content-Length: 10")
    with ExitStack() as stack:
        for number in range(SLOW):
            stack.enter_context(connected(running.url))  # silent
            slow_header = stack.enter_context(connected(running.url))
            slow_header.sendall(begun[: 20 + number])
        started = time.perf_counter()
        assert running.ask().status_code == 200
        assert time.perf_counter() - started < 5


def test_slow_bodies_hold_up_to_the_cap_of_their_own_key_and_end_with_408(running: Process) -> None:
    other = new_key()
    with open_ledger(str(running.ledger)) as ledger:
        ledger.create(Account("slow", 10, "logits", 10), key_hash(other))
    with ExitStack() as stack:
        connections = [stack.enter_context(connected(running.url)) for _ in range(SLOW)]
        for connection in connections:
            connection.sendall(head(other, "Content-Length: 100") + b"x")
        started = time.perf_counter()
        assert running.ask().status_code == 200
        assert time.perf_counter() - started < 0.75 * BODY_SECONDS, "it waited for the slow ones"
        statuses = [status(connection) for connection in connections]
    assert statuses.count(408) == 8
    assert statuses.count(429) == SLOW - 8


def test_bodies_too_large_or_broken_are_refused_and_nothing_else_happens(running: Process) -> None:
    asked: list[tuple[bytes, set[int | None]]] = [
        (head(running.key, f"Content-Length: {10**12}"), {413}),
        (head(running.key, f"Content-Length: {'9' * 30}"), {400, 413, None}),
        (head(running.key, "Content-Length: -1"), {400, None}),
        (head(running.key, "Content-Length: 1", "Content-Length: 2") + b"xx", {400, None}),
        (head(running.key, "Transfer-Encoding: chunked") + b"ffffff\r\n" + b"x" * 200_000, {413}),
        (head(running.key, "Transfer-Encoding: chunked") + b"not a length\r\n", {400, None}),
        (head(running.key, "Transfer-Encoding: chunked") + b"ffffffffffffffffffff\r\n", {400, None}),
        (head(running.key, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", {400, None}),
        (head("x" * 100_000, "Content-Length: 1") + b"x", {400, 401, 431, None}),
        (b"\x16\x03\x01\x02\x00" * 100, {400, None}),
    ]
    for message, expected in asked:
        with connected(running.url) as connection:
            try:
                connection.sendall(message)
            except (BrokenPipeError, ConnectionResetError):
                continue
            assert status(connection) in expected, message[:200]
    assert running.ask().status_code == 200
    assert running.spent() == 3


def test_a_chunked_body_is_as_good_as_any(running: Process) -> None:
    message = encode_request(some_images(3), "logits")
    chunks = (message.body[at : at + 7] for at in range(0, len(message.body), 7))
    headers = {**message.headers, "Authorization": f"Bearer {running.key}"}
    assert httpx.post(running.url + INFER, content=chunks, headers=headers).status_code == 200


def test_a_server_that_shuts_down_answers_what_it_accepted_and_refuses_the_rest(running: Process) -> None:
    message = encode_request(some_images(4), "logits")
    body, sent = message.body, [f"{name}: {value}" for name, value in message.headers.items()]
    with connected(running.url) as accepted:
        accepted.sendall(head(running.key, *sent, f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert status(accepted) == 100  # its body is waited for
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: httpx.get(running.url + "/readyz").status_code == 503)
        refused, live = running.ask(), httpx.get(running.url + "/healthz")
        accepted.sendall(body)
        assert status(accepted) == 200
    assert (refused.status_code, live.status_code) == (503, 200)
    assert refused.json()["detail"].startswith("The server is shutting down")
    assert refused.headers["Retry-After"] == "1"
    _, err = running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    assert all(json.loads(line)["level"] == "INFO" for line in err.splitlines())
    assert running.spent() == 4


def test_a_shutdown_under_load_loses_nothing_that_was_answered(running: Process) -> None:
    stop = threading.Event()

    def keep_asking() -> int:
        answered = 0
        while not stop.is_set():
            try:
                status_code = running.ask().status_code
            except httpx.TransportError:
                break
            assert status_code in (200, 503)
            answered += status_code == 200
        return answered

    with ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(keep_asking) for _ in range(4)]
        time.sleep(1.5)
        running.process.send_signal(signal.SIGTERM)
        running.process.communicate(timeout=30)
        stop.set()
        answered = sum(count.result() for count in counts)
    assert answered > 0
    assert running.spent() == 3 * answered


def test_metrics_have_a_port_of_their_own_and_text_lines_are_for_people(running: Process) -> None:
    shared = ("--teacher", running.ledger.with_name("teacher.safetensors"), "--ledger", running.ledger)
    with served_at_once(*shared, "--metrics-port", "0", "--log-format", "text") as (process, url):
        line = process.stderr.readline()
        assert " INFO metrics at http://127.0.0.1:" in line
        assert Process(process, url, running.key, running.ledger).ask().status_code == 200
        text = httpx.get(line.split()[-1]).text
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert 'mekd_budget_remaining_images{client="edge-1"} 9997.0' in text
    assert process.returncode == 0
    assert f'path="{INFER}" status=200' in err
    assert running.key not in text + err + line
