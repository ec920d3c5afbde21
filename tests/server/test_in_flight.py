"""Duplicates, caps and queues: what happens to requests that meet each other."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from server.disclosure import Images, Logits
from shared.codec import encode_request
from shared.protocol import IDEMPOTENCY_KEY
from tests.conftest import LiveServer, Serve
from tests.eventually import eventually
from tests.fakes import HeldTeacher, LinearTeacher
from tests.server.asking import INFER, ask, get, problem, some_images, values


class FailsOnce(LinearTeacher):
    """The first pass breaks."""

    def infer(self, images: Images) -> Logits:
        logits = super().infer(images)
        if len(self.batches) == 1:
            raise RuntimeError("first pass")
        return logits


@pytest.fixture
def held(serve: Serve) -> tuple[LiveServer, HeldTeacher]:
    """A server whose teacher answers when it is released; its queue holds 16 images, a key's requests are 3."""
    teacher = HeldTeacher()
    server = serve(teacher, queue_images=16, images_per_request=8, model_batch=8, in_flight_per_key=3)
    return server, teacher


def in_flight(server: LiveServer) -> int:
    return server.meter.in_flight.requests


def test_a_duplicate_waits_for_the_first_and_gets_its_answer_free(held: tuple[LiveServer, HeldTeacher]) -> None:
    server, teacher = held
    key = server.make_key()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(ask, server, key, some_images(2), idempotency_key="k") for _ in range(3)]
        assert teacher.entered.wait(timeout=10)
        teacher.release.set()
        answers = [future.result() for future in futures]
    assert len({answer.content for answer in answers}) == 1
    assert Counter(answer.headers.get("Idempotency-Replayed") for answer in answers) == {None: 1, "true": 2}
    assert (server.spent(key), teacher.batches) == (2, [8])


def test_a_duplicate_that_waits_too_long_is_told_to_come_again(serve: Serve) -> None:
    teacher = HeldTeacher()
    server = serve(teacher, duplicate_seconds=0.1)
    key = server.make_key()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, server, key, some_images(2), idempotency_key="k")
        assert teacher.entered.wait(timeout=10)
        second = ask(server, key, some_images(2), idempotency_key="k")
        assert problem(second, 409, "request-in-flight")["retry_after"] == 1
        problem(get(server, "/v1/results/k", key), 409, "request-in-flight")
        teacher.release.set()
        assert first.result().status_code == 200
    assert ask(server, key, some_images(2), idempotency_key="k").headers["Idempotency-Replayed"] == "true"
    assert server.spent(key) == 2


def test_a_duplicate_of_a_request_that_failed_asks_for_itself(serve: Serve) -> None:
    server = serve(FailsOnce())
    key = server.make_key()
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: ask(server, key, some_images(2), idempotency_key="k"), range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 500]
    assert server.spent(key) == 2


def test_a_thousand_retries_from_32_threads_are_one_inference_and_one_charge(serve: Serve) -> None:
    server = serve(in_flight_per_key=32)
    key, message = server.make_key(), encode_request(some_images(3), "logits")
    headers = {**message.headers, IDEMPOTENCY_KEY: "k", "Authorization": f"Bearer {key}"}

    with httpx.Client(limits=httpx.Limits(max_connections=32)) as http, ThreadPoolExecutor(32) as pool:
        answers = list(
            pool.map(lambda _: http.post(server.url + INFER, content=message.body, headers=headers), range(1000))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert Counter(answer.headers.get("Idempotency-Replayed") for answer in answers) == {None: 1, "true": 999}
    assert (server.spent(key), server.teacher.batches) == (3, [8])


def test_a_key_with_too_many_requests_in_flight_is_sent_away_and_others_are_not(serve: Serve) -> None:
    teacher = HeldTeacher()
    server = serve(teacher, in_flight_per_key=2)
    key, other = server.make_key(name="edge-1"), server.make_key()
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(ask, server, key, some_images(1, seed)) for seed in range(2)]
        eventually(lambda: in_flight(server) == 2)
        document = problem(ask(server, key, some_images(1, 9)), 429, "rate-limited")
        assert "'edge-1' has 2 requests in flight" in document["detail"]
        assert document["retry_after"] == 1
        futures.append(pool.submit(ask, server, other, some_images(1)))
        eventually(lambda: in_flight(server) == 3)
        teacher.release.set()
        assert [future.result().status_code for future in futures] == [200] * 3
    eventually(lambda: in_flight(server) == 0)
    assert ask(server, key, some_images(1, 9)).status_code == 200


def test_a_full_queue_sends_away_free_and_uses_up_no_rate(held: tuple[LiveServer, HeldTeacher]) -> None:
    server, teacher = held
    key, other = server.make_key(), server.make_key(images_per_minute=8)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(ask, server, key, some_images(8, seed)) for seed in range(2)]
        eventually(lambda: server.meter.queue.held_images == 16)
        document = problem(ask(server, other, some_images(8)), 503, "unavailable")
        assert document["retry_after"] == 1
        assert "16 of 16 images" in document["detail"]
        teacher.release.set()
        assert [future.result().status_code for future in futures] == [200, 200]
    assert (server.spent(key), server.spent(other)) == (16, 0)
    assert ask(server, other, some_images(8)).status_code == 200


def test_a_result_can_be_fetched_again_free_with_the_same_bytes(live_server: LiveServer) -> None:
    key = live_server.make_key(budget=5, images_per_minute=5)
    name = "run/7?step=1+%"
    first = ask(live_server, key, some_images(5), idempotency_key=name)
    again = get(live_server, f"/v1/results/{quote(name, safe='')}", key)
    assert again.content == first.content
    assert again.headers["Idempotency-Key"] == name
    assert again.headers["Idempotency-Replayed"] == "true"
    assert list(values(again)) == ["logits"]
    assert live_server.spent(key) == 5


def test_a_result_that_was_never_bought_or_by_another_key_is_not_found(live_server: LiveServer) -> None:
    key, other = live_server.make_key(), live_server.make_key()
    ask(live_server, key, some_images(1), idempotency_key="k")
    for asked, by in (("k", other), ("other", key)):
        problem(get(live_server, f"/v1/results/{asked}", by), 404, "not-found")
    for asked in ("", "a%20b", "k" * 256):
        problem(get(live_server, f"/v1/results/{asked}", key), 400, "invalid-request")
    problem(get(live_server, "/v1/results/k"), 401, "unauthorized")


def test_duplicates_on_two_servers_are_charged_once_and_answered_alike(serve: Serve) -> None:
    teachers = HeldTeacher(), HeldTeacher()
    one = serve(teachers[0])
    other = serve(teachers[1], ledger_path=one.ledger_path)
    key = one.make_key()
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(ask, server, key, some_images(3), idempotency_key="k") for server in (one, other)]
        for teacher in teachers:
            assert teacher.entered.wait(timeout=10)  # neither knows of the other
        for teacher in teachers:
            teacher.release.set()
        answers = [future.result() for future in futures]
    assert answers[0].content == answers[1].content
    assert Counter(answer.headers.get("Idempotency-Replayed") for answer in answers) == {None: 1, "true": 1}
    assert one.spent(key) == 3
