"""Readiness tells the truth: whether a question could be answered and charged now."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx

from server.app import create_app
from server.ledger.sqlite import SqliteLedger
from server.settings import Settings
from tests.conftest import LiveServer
from tests.fakes import LinearTeacher
from tests.server.asking import ask, get, problem, some_images

READY = ("/readyz", "/v2/health/ready", "/v2/models/teacher/ready")


def test_a_server_that_drains_is_alive_and_not_ready(live_server: LiveServer) -> None:
    live_server.meter.draining = True
    for path in READY:
        assert "shutting down" in problem(get(live_server, path), 503, "unavailable")["detail"]
    assert get(live_server, "/healthz").status_code == 200
    problem(ask(live_server, live_server.make_key(), some_images(1)), 503, "unavailable")


def test_a_server_that_cannot_write_its_ledger_is_alive_and_not_ready_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    async def statuses(app: httpx.AsyncClient) -> list[int]:
        return [(await app.get(path)).status_code for path in (*READY, "/healthz")]

    async def play(app: httpx.AsyncClient) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            assert await statuses(app) == [200, 200, 200, 200]
            other.execute("BEGIN EXCLUSIVE")
            assert await statuses(app) == [503, 503, 503, 200]
            other.execute("ROLLBACK")
        assert await statuses(app) == [200, 200, 200, 200]

    async def served() -> None:
        with SqliteLedger(path, busy_seconds=0.05) as ledger:
            transport = httpx.ASGITransport(create_app(Settings(), LinearTeacher(), ledger))
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as app:
                await play(app)

    asyncio.run(served())
