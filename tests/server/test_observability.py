import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from server.auth import new_key
from server.observability import JsonLines, TextLines
from tests.conftest import LiveServer, Serve
from tests.fakes import BrokenTeacher
from tests.server.asking import INFER, ask, get, some_images
from tests.server.sockets import connected, head, status

LOGGER = "mekd.server"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[int], list[dict[str, Any]]]:
    """Waits for that many request lines: one is written just after its answer has left."""
    caplog.set_level(logging.INFO, LOGGER)

    def read(count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 10
        while True:
            found = [vars(r)["facts"] for r in caplog.records if r.name == LOGGER and r.levelno == logging.INFO]
            if len(found) >= count or time.monotonic() > deadline:
                return found
            time.sleep(0.01)

    return read


Lines = Callable[[int], list[dict[str, Any]]]


def test_one_line_tells_who_asked_how_much_and_what_came_of_it(live_server: LiveServer, lines: Lines) -> None:
    key = live_server.make_key(name="edge-1", budget=5)
    first = ask(live_server, key, some_images(5), idempotency_key="k")
    ask(live_server, key, some_images(5), idempotency_key="k")
    ask(live_server, key, some_images(1))
    paid, replayed, refused = lines(3)
    assert paid.pop("milliseconds") > 0
    assert paid == {
        "request_id": first.headers["X-Request-Id"],
        "method": "POST",
        "path": INFER,
        "status": 200,
        "client": "edge-1",
        "images": 5,
        "replayed": False,
    }
    assert replayed["replayed"] is True
    assert (refused["status"], refused["error"], refused["client"]) == (402, "budget-exhausted", "edge-1")


def test_no_key_and_no_answer_is_logged(
    live_server: LiveServer, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    key, unknown = live_server.make_key(), new_key()
    answer = ask(live_server, key, some_images(1), binary=False).json()["outputs"][0]["data"]
    get(live_server, "/v1/usage", unknown)
    lines(2)
    assert key not in caplog.text and unknown not in caplog.text
    assert not any(str(value) in caplog.text for value in answer)


def test_the_log_has_the_cause_of_a_crash_under_the_request_id(
    serve: Serve, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(BrokenTeacher(secret="no memory left"))
    response = ask(server, server.make_key(), some_images(1))
    (line,) = lines(1)
    assert (line["status"], line["error"]) == (500, "internal-error")
    (crash,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert response.json()["request_id"] in crash.getMessage()
    assert "no memory left" in caplog.text


def test_a_client_that_hangs_up_is_a_line_and_no_crash(live_server: LiveServer, lines: Lines) -> None:
    with connected(live_server.url) as connection:
        key = live_server.make_key()
        connection.sendall(head(key, "Content-Length: 100", "Expect: 100-continue"))
        assert status(connection) == 100  # its body is waited for
        connection.sendall(b"half")
    (line,) = lines(1)
    assert line["status"] == 499
    assert get(live_server, "/healthz").status_code == 200


def test_a_key_in_the_wrong_place_is_not_logged(
    live_server: LiveServer, lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    key = live_server.make_key()
    get(live_server, f"/v1/usage/{key}?key={key}")
    assert lines(1)[0]["path"] == "/v1/usage/mekd_***"
    assert key not in str([vars(record) for record in caplog.records])


@pytest.fixture
def record() -> logging.LogRecord:
    """A request's line, by somebody who would like to write one of his own."""
    made = logging.LogRecord(LOGGER, logging.INFO, "", 0, "request", None, None)
    made.facts = {"path": "/x\n2026 INFO forged", "status": 404}
    return made


def test_a_json_line_is_one_object_with_time_level_and_facts(record: logging.LogRecord) -> None:
    line = JsonLines().format(record)
    assert "\n" not in line
    document = json.loads(line)
    assert datetime.fromisoformat(document.pop("time")).tzinfo is UTC
    assert document == {"level": "INFO", "message": "request", "path": "/x\n2026 INFO forged", "status": 404}


def test_a_text_line_is_one_line(record: logging.LogRecord) -> None:
    time_, rest = TextLines().format(record).split(" ", 1)
    assert datetime.fromisoformat(time_).tzinfo is UTC
    assert rest == r'INFO path="/x\n2026 INFO forged" status=404'


def test_a_crash_is_one_json_object_too(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("no memory left")
    except RuntimeError:
        logging.getLogger(LOGGER).exception("request %s failed", "r1")
    (crash,) = caplog.records
    document = json.loads(JsonLines().format(crash))
    assert (document["level"], document["message"]) == ("ERROR", "request r1 failed")
    assert "RuntimeError: no memory left" in document["exception"]
    text = TextLines().format(crash)
    assert "ERROR request r1 failed\nTraceback" in text
