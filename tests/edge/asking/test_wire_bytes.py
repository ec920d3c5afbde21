import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.wire_bytes import CountingTransport, Traffic, counted
from edge.run import run
from shared.protocol import LOGITS
from tests.conftest import LiveServer
from tests.edge.asking.counting_relay import CountingRelay
from tests.edge.asking.scripted_server import ScriptedServer, http_answer, logits_answer
from tests.edge.small import small_config

IMAGES = np.zeros((64, 3, 32, 32), np.uint8)


def test_bytes_of_a_question_are_exactly_those_that_the_socket_saw() -> None:
    with ScriptedServer(logits_answer(64)) as server, TeacherClient(server.url, SecretStr("k")) as client:
        reply = client.ask(IMAGES, LOGITS, "a")
    assert (reply.bytes_up, reply.bytes_down) == (server.received, server.sent)
    assert reply.bytes_up > IMAGES.nbytes


def test_bytes_of_refused_and_broken_attempts_are_counted() -> None:
    answers = [http_answer("503 Busy", b"{}"), logits_answer(64)[:-10], b"", logits_answer(64)]
    with (
        ScriptedServer(*answers) as server,
        TeacherClient(server.url, SecretStr("k"), sleep=lambda _: None) as client,
    ):
        reply = client.ask(IMAGES, LOGITS, "a")
    assert len(server.requests) == 4
    assert len(set(server.requests)) == 1
    assert (reply.bytes_up, reply.bytes_down) == (server.received, server.sent)


def test_each_question_on_a_kept_connection_has_its_own_count() -> None:
    with (
        ScriptedServer(logits_answer(64), logits_answer(1)) as server,
        TeacherClient(server.url, SecretStr("k")) as client,
    ):
        replies = [client.ask(IMAGES, LOGITS, "a"), client.ask(IMAGES[:1], LOGITS, "b")]
    assert [reply.bytes_up for reply in replies] == [len(request) for request in server.requests]
    assert sum(reply.bytes_down for reply in replies) == server.sent


def test_counts_of_threads_do_not_mix_and_nested_counts_both_see_the_bytes() -> None:
    counts: dict[int, tuple[Traffic, Traffic]] = {}

    def post(http: httpx.Client, url: str, size: int) -> None:
        with counted() as outer, counted() as inner:
            http.post(url, content=bytes(size))
        counts[size] = (outer, inner)

    with (
        ScriptedServer(http_answer("200 OK")) as one,
        ScriptedServer(http_answer("200 OK")) as two,
        httpx.Client(transport=CountingTransport(keepalive_expiry=5)) as http,
    ):
        threads = [threading.Thread(target=post, args=(http, s.url, n)) for s, n in ((one, 10), (two, 200_000))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts[10] == (Traffic(one.received, one.sent, handshakes=1),) * 2
    assert counts[200_000] == (Traffic(two.received, two.sent, handshakes=1),) * 2


def test_a_tls_handshake_is_told_from_the_connections_own() -> None:
    """The server waits for HTTP, so TLS never comes about; both handshakes were begun."""
    with (
        ScriptedServer(http_answer("200 OK")) as server,
        httpx.Client(transport=CountingTransport(keepalive_expiry=5)) as http,
        counted() as traffic,
        pytest.raises(httpx.ConnectTimeout),
    ):
        http.get(server.url.replace("http://", "https://"), timeout=0.3)
    assert traffic.handshakes == 2


def test_a_run_counts_every_byte_that_a_relay_on_its_way_passes_on(live_server: LiveServer, tmp_path: Path) -> None:
    with (
        CountingRelay(live_server.url) as relay,
        TeacherClient(relay.url, SecretStr(live_server.make_key(images_per_minute=200))) as client,
    ):
        results = run(small_config(), client, tmp_path / "run")
        client.close()
    parts = (*results["stages"].values(), results["bookkeeping"])
    assert [sum(part[f"bytes_{direction}"] for part in parts) for direction in ("up", "down")] == [
        relay.up,
        relay.down,
    ]
    assert all(part["bytes_up"] > 0 and part["bytes_down"] > 0 for part in parts)
