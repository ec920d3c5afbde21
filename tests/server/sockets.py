"""HTTP as nobody should speak it: bytes on a socket."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.server.asking import INFER


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """A connection on which nothing was said yet."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        yield connection


def head(key: str, *lines: str) -> bytes:
    """The start of an inference request, whose body follows."""
    return "\r\n".join([f"POST {INFER} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *lines, "", ""]).encode()


def status(connection: socket.socket) -> int | None:
    """The status of what is answered, whose head is read and no more; None where the connection is closed instead."""
    reader = connection.makefile("rb", buffering=0)
    try:
        line = reader.readline()
        while reader.readline() not in (b"\r\n", b""):
            pass
    except ConnectionResetError:
        return None
    return int(line.split()[1]) if line else None
