"""The serving process: binds, says where, serves, and drains on SIGTERM."""

import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from server.app import create_app
from server.ledger import open_ledger
from server.settings import Settings
from server.torch_teacher import load_teacher
from shared import compute
from shared.errors import InvalidConfig

BACKLOG = 2048


class DrainingServer(uvicorn.Server):
    """Uvicorn, but new questions are refused from the signal on, while those in flight finish."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                log_level="warning",
                server_header=False,
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Uvicorn's handler of SIGTERM and SIGINT."""
        self._app.state.meter.draining = True
        super().handle_exit(sig, frame)


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


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the URL once connections are accepted."""
    # As the first process of a container SIGTERM would do nothing; so it ends this one with 0, after the drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("mekd.server").setLevel(logging.INFO)
    compute.use_threads(settings.threads)
    teacher = load_teacher(settings.teacher)
    with open_ledger(settings.ledger) as ledger:
        app = create_app(settings, teacher, ledger)
        listener, url = bind(settings.host, settings.port)
        announce(url)
        DrainingServer(app, settings).run(sockets=[listener])
