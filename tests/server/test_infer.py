"""The inference endpoint over HTTP: what is answered, what is refused, and what each costs."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from shared.codec import encode_request
from tests.conftest import LiveServer, Serve
from tests.fakes import BrokenTeacher
from tests.server.asking import INFER, ask, get, post, problem, some_images, values


@pytest.mark.parametrize("binary", [True, False])
def test_every_output_is_the_teachers_in_both_forms(live_server: LiveServer, binary: bool) -> None:
    key, images = live_server.make_key(), some_images(20)
    logits = live_server.teacher.logits(images)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_array_equal(values(ask(live_server, key, images, binary=binary))["logits"], logits)
    np.testing.assert_array_equal(
        values(ask(live_server, key, images, "label", binary=binary))["label"], logits.argmax(1)
    )
    probabilities = values(ask(live_server, key, images, "probabilities", binary=binary))["probabilities"]
    np.testing.assert_allclose(probabilities, softmax, rtol=1e-5)
    assert live_server.spent(key) == 60


def test_an_answer_says_what_it_is_and_what_may_still_be_asked(live_server: LiveServer) -> None:
    response = ask(live_server, live_server.make_key(images_per_minute=100), some_images(3), idempotency_key="abc")
    headers = response.headers
    assert headers["Idempotency-Key"] == "abc"
    assert "Idempotency-Replayed" not in headers
    assert headers["RateLimit-Policy"] == '"images";q=100;w=60'
    assert headers["RateLimit"].startswith('"images";r=97;t=')
    assert headers["Content-Type"] == "application/octet-stream"
    assert len(headers["X-Request-Id"]) == 32
    assert "server" not in headers


@pytest.mark.parametrize(
    ("policy", "richest"), [("logits", "logits"), ("probabilities", "probabilities"), ("top1", "label")]
)
def test_without_a_choice_the_richest_output_of_the_policy_is_sent(
    live_server: LiveServer, policy: str, richest: str
) -> None:
    body = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 1, 8, 8], "data": %s}]}'
    response = post(live_server, live_server.make_key(policy=policy), body % str([0] * 64).encode())
    assert list(values(response)) == [richest]


@pytest.mark.parametrize(
    ("policy", "output"), [("top1", "logits"), ("top1", "probabilities"), ("probabilities", "logits")]
)
def test_an_output_beyond_the_policy_is_refused_free(live_server: LiveServer, policy: str, output: str) -> None:
    key = live_server.make_key(policy=policy)
    document = problem(ask(live_server, key, some_images(1), output), 403, "output-not-allowed")
    assert f"does not disclose '{output}'" in document["detail"]
    assert live_server.spent(key) == 0
    assert live_server.teacher.batches == []


def test_an_unknown_output_is_invalid(live_server: LiveServer) -> None:
    problem(ask(live_server, live_server.make_key(), some_images(1), "features"), 400, "invalid-request")


def test_a_replay_has_the_same_bytes_and_is_free(live_server: LiveServer) -> None:
    key = live_server.make_key()
    first = ask(live_server, key, some_images(5), idempotency_key="once")
    again = ask(live_server, key, some_images(5), idempotency_key="once")
    assert again.content == first.content
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Inference-Header-Content-Length"] == first.headers["Inference-Header-Content-Length"]
    assert live_server.spent(key) == 5
    assert len(live_server.teacher.batches) == 1


def test_the_key_that_the_server_chose_replays_too(live_server: LiveServer) -> None:
    key = live_server.make_key()
    first = ask(live_server, key, some_images(5))
    again = ask(live_server, key, some_images(5), idempotency_key=first.headers["Idempotency-Key"])
    assert again.headers["Idempotency-Replayed"] == "true"


def test_a_paid_answer_is_replayed_even_when_budget_and_rate_are_used_up(live_server: LiveServer) -> None:
    key = live_server.make_key(budget=5, images_per_minute=5)
    ask(live_server, key, some_images(5), idempotency_key="once")
    assert ask(live_server, key, some_images(5), idempotency_key="once").status_code == 200


@pytest.mark.parametrize("change", ["body", "form"])
def test_an_idempotency_key_reused_for_another_question_is_refused_free(live_server: LiveServer, change: str) -> None:
    key = live_server.make_key()
    ask(live_server, key, some_images(5), idempotency_key="once")
    other = ask(
        live_server, key, some_images(5, seed=change == "body"), binary=change == "body", idempotency_key="once"
    )
    problem(other, 422, "key-reused")
    assert live_server.spent(key) == 5


@pytest.mark.parametrize("bad", ["", "a b", "k" * 256, "ключ".encode().decode("latin-1")])
def test_idempotency_keys_are_visible_ascii(live_server: LiveServer, bad: str) -> None:
    message = encode_request(some_images(1), "logits")
    headers = httpx.Headers(list({**message.headers, "Idempotency-Key": bad}.items()), encoding="latin-1")
    headers["Authorization"] = f"Bearer {live_server.make_key()}"
    problem(httpx.post(live_server.url + INFER, content=message.body, headers=headers), 400, "invalid-request")


def test_the_last_images_of_a_budget_can_be_had_and_not_one_more(live_server: LiveServer) -> None:
    key = live_server.make_key(name="edge-7", budget=10)
    ask(live_server, key, some_images(7))
    document = problem(ask(live_server, key, some_images(4)), 402, "budget-exhausted")
    assert (document["remaining"], document["requested"]) == (3, 4)
    assert "7 of 10 images used by key 'edge-7', 3 remaining, 4 requested" in document["detail"]
    assert "retry_after" not in document
    assert ask(live_server, key, some_images(3)).status_code == 200
    assert problem(ask(live_server, key, some_images(1)), 402, "budget-exhausted")["remaining"] == 0


def test_a_spent_budget_never_looks_like_a_rate_limit(live_server: LiveServer) -> None:
    refused = ask(live_server, live_server.make_key(budget=1, images_per_minute=1), some_images(2))
    problem(refused, 402, "budget-exhausted")
    assert not {"retry-after", "ratelimit", "ratelimit-policy"} & set(refused.headers)


def test_concurrent_questions_never_spend_more_than_the_budget(serve: Serve) -> None:
    live_server = serve(in_flight_per_key=8)
    key = live_server.make_key(budget=50)

    def one(seed: int) -> int:
        return ask(live_server, key, some_images(4, seed)).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(one, range(24)))
    assert sorted(set(statuses)) == [200, 402]
    assert live_server.spent(key) == 4 * statuses.count(200) == 48


def test_what_the_budget_refuses_does_not_use_up_the_rate(live_server: LiveServer) -> None:
    key = live_server.make_key(budget=5, images_per_minute=10)
    for _ in range(5):
        problem(ask(live_server, key, some_images(6)), 402, "budget-exhausted")
    assert ask(live_server, key, some_images(5)).headers["RateLimit"].startswith('"images";r=5;')


def test_too_fast_is_told_when_to_come_back_and_costs_nothing(live_server: LiveServer) -> None:
    key = live_server.make_key(images_per_minute=10)
    ask(live_server, key, some_images(8))
    document = problem(ask(live_server, key, some_images(5)), 429, "rate-limited")
    assert 1 <= document["retry_after"] <= 120
    assert live_server.spent(key) == 8


def test_more_images_than_a_minute_allows_can_never_pass(live_server: LiveServer) -> None:
    key = live_server.make_key(images_per_minute=10)
    document = problem(ask(live_server, key, some_images(11)), 400, "invalid-request")
    assert "10 images per minute, this request holds 11" in document["detail"]


def test_unknown_revoked_expired_and_missing_keys_are_told_the_same(serve: Serve) -> None:
    server = serve(clock=lambda: 1_000.0)
    revoked, expired = server.make_key(), server.make_key(expires=1_000.0)
    server.revoke(revoked)
    details = set()
    for authorization in (
        "",
        "Bearer",
        "Basic eDp5",
        "Bearer mekd_unknown",
        f"Bearer {revoked}",
        f"Bearer {expired}",
    ):
        headers = {"Authorization": authorization} if authorization else {}
        response = httpx.get(server.url + "/v1/usage", headers=headers)
        assert response.headers["WWW-Authenticate"] == "Bearer"
        details.add(problem(response, 401, "unauthorized")["detail"])
    for key in (revoked, expired):
        details.add(problem(ask(server, key, some_images(1)), 401, "unauthorized")["detail"])
    assert len(details) == 1
    assert get(server, "/v1/usage", server.make_key(expires=1_000.1)).status_code == 200


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 8, 9), (2, 1, 16, 4)])
def test_images_of_another_shape_are_refused(live_server: LiveServer, shape: tuple[int, ...]) -> None:
    response = ask(live_server, live_server.make_key(), np.zeros(shape, np.uint8))
    assert "takes images of shape [1, 8, 8]" in problem(response, 400, "invalid-request")["detail"]


def test_too_many_images_are_refused(serve: Serve) -> None:
    server = serve(images_per_request=4)
    response = ask(server, server.make_key(), some_images(5))
    assert "4 images, not 5" in problem(response, 413, "payload-too-large")["detail"]


def test_bodies_too_long_are_refused_whether_they_say_so_or_not(serve: Serve) -> None:
    server = serve(body_bytes=1000)
    key = server.make_key()

    def chunks() -> Iterator[bytes]:
        yield from [b"x" * 400] * 4

    for body in (b"x" * 1001, chunks()):
        assert "1000 bytes" in problem(post(server, key, body), 413, "payload-too-large")["detail"]
    problem(post(server, key, b"x" * 1000), 400, "invalid-request")


def test_a_body_that_does_not_arrive_in_time_is_refused(serve: Serve) -> None:
    server, gate = serve(body_seconds=0.1), threading.Event()
    key = server.make_key()

    def never_ending() -> Iterator[bytes]:
        yield b"x"
        gate.wait(timeout=1)
        yield b"x"

    assert "0.1 seconds; 1 bytes came" in problem(post(server, key, never_ending()), 408, "slow-body")["detail"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "x"])
def test_compressed_bodies_are_refused(live_server: LiveServer, encoding: str) -> None:
    response = ask(live_server, live_server.make_key(), some_images(1), headers={"Content-Encoding": encoding})
    problem(response, 415, "unsupported-media")


def test_a_malformed_body_is_refused(live_server: LiveServer) -> None:
    problem(post(live_server, live_server.make_key(), b"\x00\xff"), 400, "invalid-request")


def test_two_servers_on_one_ledger_share_budget_and_answers(serve: Serve) -> None:
    one = serve()
    other = serve(ledger_path=one.ledger_path)
    key = one.make_key(budget=5)
    first = ask(one, key, some_images(5), idempotency_key="k")
    again = ask(other, key, some_images(5), idempotency_key="k")
    assert (again.content, again.headers["Idempotency-Replayed"]) == (first.content, "true")
    problem(ask(other, key, some_images(1)), 402, "budget-exhausted")


def test_an_answer_that_is_not_finite_is_never_sold(serve: Serve) -> None:
    server = serve(BrokenTeacher())
    key = server.make_key()
    problem(ask(server, key, some_images(1)), 500, "internal-error")
    assert server.spent(key) == 0


def test_a_crash_tells_nothing_but_the_request_id(serve: Serve) -> None:
    server = serve(BrokenTeacher(secret="weights are in /srv/secret"))
    key = server.make_key()
    response = ask(server, key, some_images(1))
    problem(response, 500, "internal-error")
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert server.spent(key) == 0
