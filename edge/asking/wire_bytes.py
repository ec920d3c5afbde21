"""Counts the bytes that a request really puts on the wire and takes from it: headers, body and every retry.

httpx leaves the sockets to httpcore, whose network backend is a public seam: the backend here wraps every stream
that it opens, and a stream adds what it writes and reads to the counts that are open *in the calling context*:

    with counted() as traffic:
        http.post(...)
    traffic.up, traffic.down

Handshakes are counted with them, and the seconds of a link that is simulated (`edge/asking/simulated_link.py`).

A synchronous request runs in its caller's thread, so requests of several threads never mix. Under TLS the plaintext
is counted: the handshake and the records' overhead (about 29 bytes in 16 KiB) are not. TCP and IP headers never are.
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

_WRITE_BYTES = 65536  # of a write that fails in the middle, at most this much goes uncounted


@dataclass
class Traffic:
    """Bytes sent (`up`) and received (`down`) by the edge, and what it took to exchange them."""

    up: int = 0
    down: int = 0
    handshakes: int = 0
    """TCP connections that were opened; one more for each that speaks TLS."""
    link_seconds: float = 0.0
    """Seconds on a simulated link; 0 without one."""


_open: ContextVar[tuple[Traffic, ...]] = ContextVar("open_counts", default=())


@contextmanager
def counted() -> Iterator[Traffic]:
    """Count what the block exchanges through a `CountingTransport`; blocks may be nested."""
    traffic = Traffic()
    token = _open.set((*_open.get(), traffic))
    try:
        yield traffic
    finally:
        _open.reset(token)


def add_link_seconds(seconds: float) -> None:
    """Add seconds on a simulated link to the counts that are open in the calling context."""
    for traffic in _open.get():
        traffic.link_seconds += seconds


class CountingTransport(httpx.HTTPTransport):
    """httpx's own transport on connections that count. Proxies named by the environment are not used.

    Args:
        keepalive_expiry: seconds for which an idle connection is kept.
        backend: what opens the connections; real sockets by default.
    """

    def __init__(self, *, keepalive_expiry: float, backend: httpcore.NetworkBackend | None = None) -> None:
        trusted = httpx.create_ssl_context()
        super().__init__(verify=trusted)
        self._pool.close()
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted,
            keepalive_expiry=keepalive_expiry,
            network_backend=_CountingBackend(backend or httpcore.SyncBackend()),
        )


class _CountingBackend(httpcore.NetworkBackend):
    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        _add_handshake()
        return _CountingStream(stream)


class _CountingStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._stream.read(max_bytes, timeout)
        for traffic in _open.get():
            traffic.down += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITE_BYTES):
            part = buffer[start : start + _WRITE_BYTES]
            self._stream.write(part, timeout)
            for traffic in _open.get():
                traffic.up += len(part)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        _add_handshake()
        return _CountingStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _add_handshake() -> None:
    for traffic in _open.get():
        traffic.handshakes += 1
