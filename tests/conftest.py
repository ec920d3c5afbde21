"""Fixtures for both sides.

`live_server` is the real application in a real uvicorn on an ephemeral loopback port, in a thread of the test
process, with a `LinearTeacher` and a ledger in `tmp_path`:

    def test_something(live_server: LiveServer) -> None:
        key = live_server.make_key(budget=100, policy="top1")
        ...                      # talk HTTP to live_server.url, model "teacher"
        live_server.teacher      # what it was asked: .batches; the right answers: .logits(images)
        live_server.spent(key)   # images charged, read from the ledger

`serve` starts servers with a teacher or settings of one's own: `serve(HeldTeacher(), queue_images=8)`; several may
share a ledger file: `serve(ledger_path=other.ledger_path)`.
"""

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvicorn

from server.app import create_app
from server.auth import key_hash, new_key
from server.ledger.protocol import Account
from server.ledger.sqlite import SqliteLedger
from server.meter import Meter
from server.metrics import Metrics
from server.settings import Settings
from server.teacher import Teacher
from shared import compute
from tests.fakes import LinearTeacher

# Before any test imports torch: networks of a few channels gain nothing from a second thread, which costs as much.
compute.limit_threads(1)

# Before any test imports torch: on a CPU the same seed gives the same result, which most of them rely on.
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Before any test imports a command, whose console takes its width once: tables as on a wide terminal.
os.environ["COLUMNS"] = "250"

# What a property says does not depend on how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@dataclass
class LiveServer:
    """A server that runs, and what a test may do behind its back."""

    url: str
    teacher: LinearTeacher
    ledger: SqliteLedger
    ledger_path: Path
    meter: Meter
    metrics: Metrics
    _names: Iterator[int] = field(default_factory=itertools.count)

    def make_key(
        self,
        *,
        name: str | None = None,
        budget: int = 10_000,
        policy: str = "logits",
        images_per_minute: int = 1_000_000,
        expires: float | None = None,
    ) -> str:
        """A new API key; `expires` in seconds since 1970."""
        key = new_key()
        name = name or f"key-{next(self._names)}"
        self.ledger.create(Account(name, budget, policy, images_per_minute, expires), key_hash(key))
        return key

    def revoke(self, key: str) -> None:
        """Refuse `key` from now on."""
        (name,) = (c.account.name for c in self.ledger.clients() if c.key_hash == key_hash(key))
        self.ledger.revoke(name, time.time())

    def spent(self, key: str) -> int:
        """Images that were charged to `key`."""
        (spent,) = (c.spent for c in self.ledger.clients() if c.key_hash == key_hash(key))
        return spent


Serve = Callable[..., LiveServer]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts live servers: `serve(teacher, ledger_path=..., clock=time.time, **settings)`, all optional."""
    with ExitStack() as stack:

        def start(teacher: LinearTeacher | None = None, **options: Any) -> LiveServer:
            path = options.pop("ledger_path", tmp_path / "ledger.sqlite")
            return stack.enter_context(running(teacher or LinearTeacher(), path, **options))

        yield start


@pytest.fixture
def live_server(serve: Serve) -> LiveServer:
    """A server with everything at its default."""
    return serve()


@contextmanager
def running(
    teacher: LinearTeacher, path: Path, *, clock: Callable[[], float] = time.time, **settings: Any
) -> Iterator[LiveServer]:
    served: Teacher = teacher
    with SqliteLedger(path) as ledger, socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(Settings(**settings), served, ledger, clock=clock)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", access_log=False, server_header=False, ws="none")
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="live-server")
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        try:
            yield LiveServer(
                f"http://127.0.0.1:{listener.getsockname()[1]}",
                teacher,
                ledger,
                path,
                app.state.meter,
                app.state.metrics,
            )
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            assert not thread.is_alive(), "the server did not shut down"
