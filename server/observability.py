"""One request id, one log line and one count per request. Never an image, an answer or a key in any of them."""

import json
import logging
import re
import time
import uuid
from datetime import UTC, datetime

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.auth import PREFIX
from server.metrics import Metrics
from server.problems import problem
from shared.errors import InternalError

REQUEST_ID = "X-Request-Id"
CLIENT_CLOSED_REQUEST = 499
NO_ROUTE = "none"

_KEY = re.compile(rf"{PREFIX}[\w-]+")
Facts = dict[str, str | int | float | bool]

log = logging.getLogger("mekd.server")


class Observe:
    """ASGI middleware: names, logs and counts every request; turns a crash into an answer that tells nothing."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, started, status = Request(scope), time.perf_counter(), 0
        request.state.request_id = uuid.uuid4().hex

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request.state.request_id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            status = CLIENT_CLOSED_REQUEST
        except Exception:
            log.exception("request %s failed", request.state.request_id)
            if status:
                raise
            failure = InternalError("The server failed. Its log has the cause under this request_id.")
            await problem(request, failure)(scope, receive, send_named)
        finally:
            facts = _facts(request, status, time.perf_counter() - started)
            log.info("request", extra={"facts": facts})
            self._count(scope, facts)

    def _count(self, scope: Scope, facts: Facts) -> None:
        route = getattr(scope.get("route"), "path", NO_ROUTE)  # the pattern: a client cannot invent more of them
        self._metrics.requests.labels(route, facts["status"]).inc()
        if "error" in facts:
            self._metrics.rejections.labels(facts["error"]).inc()


def _facts(request: Request, status: int, seconds: float) -> Facts:
    facts: Facts = {
        "request_id": request.state.request_id,
        "method": request.method,
        "path": _KEY.sub(f"{PREFIX}***", request.url.path),  # where somebody sent a key in the wrong place
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
    }
    known = {name: getattr(request.state, name, None) for name in ("client", "images", "replayed", "error")}
    return facts | {name: value for name, value in known.items() if value is not None}


class JsonLines(logging.Formatter):
    """One JSON object per line, whatever is logged."""

    def format(self, record: logging.LogRecord) -> str:
        """The record with its time, level, facts and, after a crash, its traceback."""
        line = {"time": _time(record), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | getattr(record, "facts", {}))


class TextLines(logging.Formatter):
    """One line for people; values are quoted as in JSON, so that no client can start a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """As `JsonLines`; a traceback follows on lines of its own."""
        facts = " ".join(f"{name}={json.dumps(value)}" for name, value in getattr(record, "facts", {}).items())
        line = f"{_time(record)} {record.levelname} {facts or record.getMessage()}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
