"""The serving process: binds, says where, serves, and drains on SIGTERM."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

import uvicorn
from fastapi import FastAPI

from server.app import create_app
from server.ledger import open_ledger
from server.meter import Meter
from server.metrics import shown
from server.observability import JsonLines, TextLines, log
from server.settings import Settings
from server.torch_teacher import load_teacher
from shared import compute
from shared.errors import InvalidConfig

BACKLOG = 2048
CLOSING_SECONDS = 5
"""For answers that are on the wire when nothing is in flight any more."""
PARENT_SECONDS = 0.5
"""Between two looks whether the parent is there."""


class DrainingServer(uvicorn.Server):
    """Uvicorn, but from the signal on it still listens, to say 503, until what was accepted is answered."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                ws="none",
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=CLOSING_SECONDS,
            )
        )
        self._meter: Meter = app.state.meter
        self._drain_seconds = settings.drain_seconds
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Uvicorn's handler of SIGTERM and SIGINT; the second one does not wait any longer."""
        if self._stop_at is None:
            self._meter.draining = True
            self._stop_at = time.monotonic() + self._drain_seconds
            self._captured_signals.append(sig)
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Uvicorn's question, ten times a second, whether to stop."""
        if self._stop_at is not None and (not self._meter.in_flight.requests or time.monotonic() > self._stop_at):
            self.should_exit = True
        return await super().on_tick(counter)


def bind(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket and its URL; port 0 takes a free one.

    Raises:
        InvalidConfig: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidConfig(
            f"Cannot listen on {host} port {port} ({error.strerror}). Choose another --port."
        ) from None
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def end_with(parent: int) -> None:
    """Drain and end, as after SIGTERM, once this process is no longer a child of `parent`.

    Who is killed cannot stop the server that it has started.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the URL once connections are accepted."""
    # As the first process of a container SIGTERM would do nothing; so it ends this one with 0, after the drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    log.setLevel(logging.INFO)
    compute.use_threads(settings.threads)
    teacher = load_teacher(settings.teacher)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(settings.ledger.get_secret_value()))
        app = create_app(settings, teacher, ledger)
        if settings.metrics_port is not None:
            app.state.metrics.watch_budgets(ledger.clients)
            url = stack.enter_context(shown(app.state.metrics, settings.metrics_host, settings.metrics_port))
            log.info("metrics at %s", url)
        listener, url = bind(settings.host, settings.port)
        announce(url)
        DrainingServer(app, settings).run(sockets=[listener])
