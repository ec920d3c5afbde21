"""A TCP proxy between edge and server that harms one HTTP exchange at an exact point and counts what it did.

It reads just enough of HTTP/1.1 (a head, and a body of Content-Length bytes) to know where it is, and forwards each
request on a connection of its own. What happens to a request is a `Fault`: a function that is given the request's
`Transit` when its head has arrived, and does with it what it likes. `tests/faults.py` holds the faults.

    with ChaosProxy(server.url) as proxy:
        proxy.arm(fault, method="POST", times=2)      # the next two POSTs
        ...                                           # talk to proxy.url
        proxy.injected, proxy.requests, proxy.up, proxy.down
"""

import asyncio
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

END_OF_HEAD = b"\r\n\r\n"
CALL_SECONDS = 10.0


@dataclass(frozen=True)
class Fault:
    """Something that befalls an exchange."""

    name: str
    strike: Callable[["Transit"], Awaitable[None]]


@dataclass(frozen=True)
class Stream:
    """Both directions of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Up to the blank line, which is included."""
        return await self.reader.readuntil(END_OF_HEAD)

    async def body(self, head: bytes) -> bytes:
        """As many bytes as `head` says."""
        length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
        return await self.reader.readexactly(int(length[1]) if length else 0)

    def reset(self) -> None:
        """End with RST, which throws away whatever is on its way."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class ChaosProxy:
    """Listens on an ephemeral port, in a thread of this process; a context manager.

    Args:
        target: URL of the server.
    """

    url: str

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._host, self._target_port = parts.hostname, parts.port
        self._port = 0
        self._armed: tuple[Fault, str] | None = None
        self._spared = self._due = 0
        self._closing_next = 0
        self._serving: set[asyncio.Task[None] | None] = set()  # asyncio forgets who serves a connection that is lost
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="chaos-proxy")
        self.requests: Counter[str] = Counter()
        """Requests that arrived, by method."""
        self.injected: Counter[str] = Counter()
        """Exchanges that were harmed, by the fault's name."""
        self.up = 0
        """Bytes that were read from the clients."""
        self.down = 0
        """Bytes that were sent to the clients."""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(CALL_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CALL_SECONDS)

    def arm(self, fault: Fault, *, method: str = "POST", times: int = 1, after: int = 0) -> None:
        """Let `fault` befall `times` requests of `method`, when `after` others of it have passed."""
        self._spared, self._due = after, times
        self._armed = fault, method

    def disarm(self) -> None:
        """Let everything pass."""
        self._armed = None

    def mend(self) -> None:
        """Listen again, if connections were refused; call it from any thread but the proxy's."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(CALL_SECONDS)

    def refuse(self) -> None:
        """Refuse connections from now on, until `mend`; for faults."""
        self._server.close()

    def close_next(self) -> None:
        """Accept one more connection and close it at once; for faults."""
        self._closing_next += 1

    async def connect(self) -> Stream:
        """A new connection to the server; for faults."""
        return Stream(*await asyncio.open_connection(self._host, self._target_port))

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._ready.set()
        await self._stop.wait()
        self._server.close()

    async def _listen(self) -> None:
        if not self._server.is_serving():
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Stream(reader, writer)
        self._serving.add(task := asyncio.current_task())
        try:
            if self._closing_next:
                self._closing_next -= 1
                return
            while not writer.is_closing():
                head = await client.head()
                self.up += len(head)
                transit = Transit(self, client, head)
                self.requests[transit.method] += 1
                await self._next_fault(transit.method)(transit)
        except (OSError, EOFError):  # either side has gone
            pass
        finally:
            writer.close()
            self._serving.discard(task)

    def _next_fault(self, method: str) -> Callable[["Transit"], Awaitable[None]]:
        if self._armed is None or self._armed[1] != method or self._due == 0:
            return Transit.pass_on
        if self._spared:
            self._spared -= 1
            return Transit.pass_on
        fault, _ = self._armed
        self._due -= 1
        self.injected[fault.name] += 1
        return fault.strike


class Transit:
    """A request of which the head has arrived, and everything that may become of it."""

    def __init__(self, proxy: ChaosProxy, client: Stream, head: bytes) -> None:
        self.proxy, self.client, self.head = proxy, client, head
        self.method = head.split(b" ", 1)[0].decode("ascii", "replace")

    async def pass_on(self) -> None:
        """No fault."""
        await self.answer(await self.deliver(await self.request()))

    async def request(self) -> bytes:
        """All of it, once it has arrived."""
        body = await self.client.body(self.head)
        self.proxy.up += len(body)
        return self.head + body

    async def sent(self, data: bytes) -> Stream:
        """Send `data` to the server, on a connection of its own."""
        server = await self.proxy.connect()
        await server.send(data)
        return server

    async def received(self, server: Stream) -> bytes:
        """The server's whole answer."""
        try:
            head = await server.head()
            return head + await server.body(head)
        finally:
            server.writer.close()

    async def deliver(self, request: bytes) -> bytes:
        """Send `request` to the server; its whole answer."""
        return await self.received(await self.sent(request))

    async def answer(self, data: bytes) -> None:
        """Give `data` to the client."""
        await self.client.send(data)
        self.proxy.down += len(data)

    async def gone(self) -> None:
        """Wait until the client has closed the connection or died."""
        while await self.client.reader.read(1024):
            pass

    def close(self) -> None:
        """End the client's connection once it has what was sent."""
        self.client.writer.close()

    def reset(self) -> None:
        """End the client's connection with RST."""
        self.client.reset()
