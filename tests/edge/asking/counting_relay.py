"""A TCP relay that understands nothing and counts every byte that it passes on, in both directions."""

import socket
import threading
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit


class CountingRelay:
    """Listens on an ephemeral port and passes connections on to the server at `target`; a context manager.

    The counts are final once the block has ended and its connections are closed.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = parts.hostname, parts.port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.up = self.down = 0
        self._counting = threading.Lock()
        self._accepting = threading.Thread(target=self._accept)
        self._relaying: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._accepting, *self._relaying):
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._relaying.append(threading.Thread(target=self._relay, args=(client,)))
            self._relaying[-1].start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=self._pass_on, args=(server, client, "down"))
            back.start()
            self._pass_on(client, server, "up")
            back.join()

    def _pass_on(self, source: socket.socket, sink: socket.socket, direction: Literal["up", "down"]) -> None:
        while data := source.recv(65536):
            with self._counting:
                setattr(self, direction, getattr(self, direction) + len(data))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
