import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.exchange import FIRST_CONTACT_PATIENCE
from shared.codec import decode_request, encode_response
from shared.errors import (
    ApiError,
    BudgetExhausted,
    ForeignAnswer,
    InternalError,
    InvalidRequest,
    KeyReused,
    MekdError,
    NotFound,
    OutputNotAllowed,
    PayloadTooLarge,
    RateLimited,
    RequestInFlight,
    SlowBody,
    Stopped,
    Unauthorized,
    Unavailable,
    Unreachable,
    UnsupportedMedia,
)
from shared.protocol import (
    HEADER_LENGTH,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    LABEL,
    LOGITS,
)
from tests.edge.waiting import Time

URL = "http://teacher.test:8000"
IMAGES = np.arange(2 * 1 * 2 * 2, dtype=np.uint8).reshape(2, 1, 2, 2)
Step = httpx.Response | Exception


def answer(values: NDArray[np.generic], output: str = LOGITS, **headers: str) -> httpx.Response:
    message = encode_response("teacher", "1", {output: (values, True)})
    return httpx.Response(200, content=message.body, headers=message.headers | headers)


def refusal(error: ApiError, **headers: str) -> httpx.Response:
    return httpx.Response(error.status, json=error.problem(), headers=headers)


def good() -> httpx.Response:
    return answer(np.ones((2, 3), np.float32))


@contextmanager
def scripted(
    *steps: Step, time: Time | None = None, patience: float = 120.0
) -> Iterator[tuple[TeacherClient, list[httpx.Request]]]:
    """A client whose server takes these steps, the last one for ever; and the requests that it saw."""
    requests: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        step = steps[min(len(requests), len(steps)) - 1]
        if isinstance(step, Exception):
            raise step
        return httpx.Response(step.status_code, headers=step.headers, content=step.content)

    time = time or Time()
    with httpx.Client(transport=httpx.MockTransport(serve)) as http:
        key = SecretStr("mekd_secret")
        yield TeacherClient(URL, key, http=http, patience=patience, sleep=time.sleep, clock=time.clock), requests


def test_a_question_carries_images_key_and_idempotency_key_and_returns_the_values() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    with scripted(answer(values)) as (client, requests):
        reply = client.ask(IMAGES, LOGITS, "key-1")
    (request,) = requests
    question = decode_request(request.content, request.headers[HEADER_LENGTH])
    assert (question.images == IMAGES).all() and question.outputs == {LOGITS: True}
    assert request.headers["Authorization"] == "Bearer mekd_secret"
    assert request.headers[IDEMPOTENCY_KEY] == "key-1"
    assert request.url == f"{URL}/v2/models/teacher/infer"
    assert (reply.values == values).all() and reply.values.dtype == np.float32 and not reply.replayed


def test_labels_come_as_int64() -> None:
    with scripted(answer(np.array([7, 1]), LABEL)) as (client, _):
        reply = client.ask(IMAGES, LABEL, "a")
    assert reply.values.tolist() == [7, 1] and reply.values.dtype == np.int64


def test_a_replayed_answer_says_so() -> None:
    values = np.ones((2, 3), np.float32)
    with scripted(answer(values, **{IDEMPOTENCY_REPLAYED: "true"})) as (client, _):
        assert client.ask(IMAGES, LOGITS, "a").replayed


@pytest.mark.parametrize(
    "failure",
    [
        refusal(RequestInFlight("wait")),
        refusal(Unavailable("full")),
        refusal(InternalError("oops")),
        httpx.Response(502, text="<html>bad gateway</html>"),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.DecodingError("broken gzip"),
        httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
    ],
    ids=str,
)
def test_what_may_pass_is_asked_again_with_the_same_key_and_body(failure: Step) -> None:
    with scripted(failure, failure, good()) as (client, requests):
        client.ask(IMAGES, LOGITS, "a")
    assert len({(request.headers[IDEMPOTENCY_KEY], request.content) for request in requests}) == 1
    assert len(requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("bad"),
        Unauthorized("who"),
        BudgetExhausted("spent", remaining=1, requested=2),
        OutputNotAllowed("no"),
        NotFound("none"),
        SlowBody("slow"),
        PayloadTooLarge("big"),
        UnsupportedMedia("gzip"),
        KeyReused("again"),
    ],
    ids=lambda error: error.code,
)
def test_what_will_not_pass_is_raised_at_once_as_the_servers_error(error: ApiError) -> None:
    with scripted(refusal(error)) as (client, requests), pytest.raises(type(error), match=str(error)) as raised:
        client.ask(IMAGES, LOGITS, "a")
    assert len(requests) == 1
    assert error.members.items() <= raised.value.members.items()


def test_retry_after_is_obeyed() -> None:
    time = Time()
    with scripted(refusal(RateLimited("later"), **{"Retry-After": "17"}), good(), time=time) as (client, _):
        client.ask(IMAGES, LOGITS, "a")
    assert 17 <= sum(time.slept) <= 18


def test_an_absurd_retry_after_is_cut_to_an_hour() -> None:
    time = Time()
    with scripted(refusal(RateLimited("later"), **{"Retry-After": "9999999999"}), good(), time=time) as (client, _):
        client.ask(IMAGES, LOGITS, "a")
    assert sum(time.slept) < 3700


def test_waiting_for_the_rate_costs_no_patience() -> None:
    limited = [refusal(RateLimited("later"), **{"Retry-After": "60"})] * 5
    with scripted(*limited, refusal(Unavailable("full")), good(), patience=10) as (client, requests):
        client.ask(IMAGES, LOGITS, "a")
    assert len(requests) == 7


@pytest.mark.parametrize(
    ("failure", "error"),
    [(refusal(Unavailable("queue full")), Unavailable), (httpx.ConnectError("refused"), Unreachable)],
    ids=["503", "dead"],
)
def test_patience_ends(failure: Step, error: type[MekdError]) -> None:
    time = Time()
    with scripted(failure, time=time, patience=60) as (client, requests), pytest.raises(error):
        client.ask(IMAGES, LOGITS, "a")
    assert 40 < sum(time.slept) <= 60
    assert 7 < len(requests) < 60


def test_a_sleep_may_stop_the_waiting() -> None:
    def stop(_: float) -> None:
        raise Stopped("Ctrl-C")

    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(503))) as http:
        client = TeacherClient(URL, SecretStr("k"), http=http, sleep=stop)
        with pytest.raises(Stopped):
            client.ask(IMAGES, LOGITS, "a")


@pytest.mark.parametrize("contact", [TeacherClient.metadata, TeacherClient.usage])
def test_the_first_contact_with_a_dead_server_fails_within_seconds(
    contact: Callable[[TeacherClient], object],
) -> None:
    time = Time()
    with (
        scripted(httpx.ConnectError("Connection refused"), time=time) as (client, _),
        pytest.raises(Unreachable, match=rf"{URL} .*refused.* Start the server or correct the URL"),
    ):
        contact(client)
    assert sum(time.slept) <= FIRST_CONTACT_PATIENCE


def test_a_port_where_nobody_listens_is_unreachable_within_seconds() -> None:
    started = time.monotonic()
    with TeacherClient("http://127.0.0.1:1", SecretStr("k")) as client, pytest.raises(Unreachable):
        client.metadata()
    assert time.monotonic() - started < 2 * FIRST_CONTACT_PATIENCE


def test_after_the_first_contact_usage_is_patient() -> None:
    clock = Time()
    with scripted(good(), httpx.ConnectError("refused"), time=clock) as (client, _):
        client.ask(IMAGES, LOGITS, "a")
        with pytest.raises(Unreachable):
            client.usage()
    assert sum(clock.slept) > 10 * FIRST_CONTACT_PATIENCE


@pytest.mark.parametrize(
    "page",
    [
        httpx.Response(200, html="<html>hello</html>"),
        httpx.Response(200, json={"hello": "world"}),
        httpx.Response(404, html="<html>not found</html>"),
        httpx.Response(302, headers={"Location": "/login"}),
        httpx.Response(204),
    ],
    ids=lambda page: str(page.status_code),
)
def test_a_server_of_another_kind_is_recognised(page: httpx.Response) -> None:
    with scripted(page) as (client, _):
        with pytest.raises(ForeignAnswer, match=URL):
            client.metadata()
        with pytest.raises(ForeignAnswer):
            client.ask(IMAGES, LOGITS, "a")


def test_an_oip_server_without_a_meter_has_no_usage() -> None:
    for refused in (httpx.Response(404), httpx.Response(404, json={"error": "?"}), httpx.Response(400)):
        with scripted(refused) as (client, _):
            assert client.usage() is None


@pytest.mark.parametrize(
    "wrong",
    [
        answer(np.ones((3, 3), np.float32)),
        answer(np.ones((2, 0), np.float32)),
        answer(np.ones(2, np.float32)),
        answer(np.full((2, 3), np.nan, np.float32)),
        answer(np.full((2, 3), np.inf, np.float32)),
        answer(np.ones((2, 3), np.float32), "probabilities"),
        answer(np.ones(2, np.int64), LABEL),
        httpx.Response(200, json={"model_name": "teacher", "outputs": []}),
    ],
)
def test_answers_that_do_not_fit_the_question_are_refused(wrong: httpx.Response) -> None:
    with scripted(wrong) as (client, _), pytest.raises(ForeignAnswer, match="server"):
        client.ask(IMAGES, LOGITS, "a")


def test_the_key_is_in_no_representation() -> None:
    with TeacherClient(URL + "/", SecretStr("mekd_secret")) as client:
        assert repr(client) == f"TeacherClient('{URL}', model='teacher')"
        assert "mekd_secret" not in repr(vars(client))
