"""How long good requests take while hundreds of connections are silent, slow or too large, against a real process.

    python -m tests.benchmarks.slow_connections --connections 100 --requests 300

Of each kind there are as many as `connections`: silent ones, headers and bodies that come byte by byte, bodies
that say too large a length, and chunks without an end. Those that the server closes are opened again every second.
"""

import os
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer

from shared.codec import encode_request
from tests.benchmarks.fuzz_bodies import prepare
from tests.server.asking import INFER, some_images
from tests.server.processes import served
from tests.server.sockets import head

DRIP_SECONDS = 1.0
SLOWEST = 5.0
"""Seconds that the slowest hundredth of good requests may take."""


@dataclass
class Attack:
    """Connections of one kind: each sends `opening`, then `drip` again and again, until the server closes it."""

    url: str
    opening: bytes
    drip: bytes
    reopened: int = 0
    _connections: list[socket.socket] = field(default_factory=list)

    def open(self, count: int) -> None:
        host, port = self.url.removeprefix("http://").split(":")
        while len(self._connections) < count:
            connection = socket.create_connection((host, int(port)), timeout=10)
            connection.sendall(self.opening)
            connection.setblocking(False)
            self._connections.append(connection)

    def go_on(self, count: int) -> None:
        """Drip once, and open again what the server closed."""
        with selectors.DefaultSelector() as ready:
            for connection in self._connections:
                ready.register(connection, selectors.EVENT_READ)
            answered = {key.fileobj for key, _ in ready.select(0)}
        for connection in list(self._connections):
            if connection in answered or not self._dripped(connection):
                connection.close()
                self._connections.remove(connection)
                self.reopened += 1
        self.open(count)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def _dripped(self, connection: socket.socket) -> bool:
        try:
            connection.send(self.drip)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


@contextmanager
def going_on(attacks: dict[str, Attack], count: int) -> Iterator[None]:
    """While entered, all attacks go on in a thread."""
    stop = threading.Event()

    def attack() -> None:
        while not stop.wait(DRIP_SECONDS):
            for kind in attacks.values():
                kind.go_on(count)

    for kind in attacks.values():
        kind.open(count)
    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for kind in attacks.values():
            kind.close()


def main(
    connections: Annotated[int, typer.Option(help="Bad connections of each kind.")] = 100,
    requests: Annotated[int, typer.Option(help="Good requests, without and with them.")] = 300,
) -> None:
    """Measure good requests without and with bad connections around them."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    message = encode_request(some_images(8), "logits")
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as log:
        flags, (key, other) = prepare(Path(folder), "good", "bad")
        with served(*flags, stderr=log) as (_, url):
            headers = {**message.headers, "Authorization": f"Bearer {key}"}
            unknown = "mekd_unknown"

            def seconds() -> float:
                started = time.perf_counter()
                response = httpx.post(url + INFER, content=message.body, headers=headers, timeout=30)
                assert response.status_code == httpx.codes.OK, response.text
                return time.perf_counter() - started

            def measure(what: str) -> float:
                median, slowest = np.percentile([seconds() for _ in range(requests)], [50, 99])
                typer.echo(f"{what:30} median {1000 * median:.1f} ms, 99 % {1000 * slowest:.1f} ms, n = {requests}")
                return float(slowest)

            attacks = {
                "silent": Attack(url, b"", b""),
                "slow header": Attack(url, head(unknown, "X: ")[:-4], b"x"),
                "slow body, no key": Attack(url, head(unknown, "Content-Length: 1000000"), b"x"),
                "slow body, another's key": Attack(url, head(other, "Content-Length: 1000000"), b"x"),
                "too large": Attack(url, head(unknown, f"Content-Length: {10**12}"), b"x" * 1000),
                "endless chunks": Attack(url, head(unknown, "Transfer-Encoding: chunked"), b"3e8\r\n" + b"x" * 1000),
            }
            measure("alone")
            with going_on(attacks, connections):
                slowest = measure(f"{connections} of each kind around")
            for name, attack in attacks.items():
                typer.echo(f"{name:30} closed or answered {attack.reopened} times")
    assert slowest < SLOWEST


if __name__ == "__main__":
    typer.run(main)
