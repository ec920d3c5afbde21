"""Runs against a real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.config import Config
from edge.run import run
from edge.training import Watcher
from tests.conftest import LiveServer


@contextmanager
def a_client(url: str, key: str) -> Iterator[TeacherClient]:
    with TeacherClient(url, SecretStr(key), patience=1) as client:
        yield client


def distil(server: LiveServer, key: str, out: Path, config: Config, watcher: Watcher | None = None) -> dict[str, Any]:
    with a_client(server.url, key) as client:
        return run(config, client, out, watcher=watcher)
