"""One request id and one JSON log line per request. Never an image, an answer or a key in either."""

import json
import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.problems import problem
from shared.errors import InternalError

REQUEST_ID = "X-Request-Id"
CLIENT_CLOSED_REQUEST = 499

log = logging.getLogger("mekd.server")


class Observe:
    """ASGI middleware: names every request, logs its end, and turns a crash into an answer that tells nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            log.info(json.dumps(_facts(request, status, time.perf_counter() - started)))


def _facts(request: Request, status: int, seconds: float) -> dict[str, str | int | float | bool]:
    facts: dict[str, str | int | float | bool] = {
        "request_id": request.state.request_id,
        "method": request.method,
        "path": request.url.path,
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
    }
    known = {name: getattr(request.state, name, None) for name in ("client", "images", "replayed", "error")}
    return facts | {name: value for name, value in known.items() if value is not None}
