"""A transport whose exchanges take as long as a link would: in virtual time, or really waited for.

Every HTTP exchange is accounted, whoever asks for it and however it ends: retries, refusals and broken connections
cross the link too. What an exchange takes is drawn by address, from the seed and the exchange's number since the
start of the program, so that the same exchanges take the same seconds again. Connections are the real ones: one that
idled too long while the edge was training is opened anew, and that takes its round trip, also in virtual time.
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx
import numpy as np

from edge.asking.link import Link
from edge.asking.wire_bytes import add_link_seconds, counted


class SimulatedLink(httpx.BaseTransport):
    """A transport behind a link.

    Args:
        transport: what really exchanges; bytes are known of a `CountingTransport` only. Closed with this one.
        link: the link to simulate.
        seed: decides every draw.
        sleep: waits for an exchange's seconds and may raise `Stopped`; None accounts them only, in virtual time.
    """

    def __init__(
        self,
        transport: httpx.BaseTransport,
        link: Link,
        seed: int,
        *,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._transport, self._link, self._seed = transport, link, seed
        self._sleep = sleep
        self._numbers = itertools.count()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Exchange, with the whole answer read; the connection is in use until its seconds are over."""
        with ExitStack() as in_use, self._timed():
            response = in_use.enter_context(closing(self._transport.handle_request(request)))
            assert isinstance(response.stream, httpx.SyncByteStream)
            content = b"".join(response.stream)
        return httpx.Response(
            response.status_code, headers=response.headers, content=content, extensions=response.extensions
        )

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        with counted() as exchange:
            try:
                yield
            finally:
                rng = np.random.default_rng((self._seed, next(self._numbers)))
                seconds = self._link.drawn_seconds(exchange.up, exchange.down, rng, connections=exchange.handshakes)
                add_link_seconds(seconds)
                if self._sleep:
                    self._sleep(seconds)
