"""A real socket that answers with prepared bytes and counts every byte in both directions."""

import socket
import threading
from types import TracebackType
from typing import Self

import numpy as np

from shared.codec import encode_response
from shared.protocol import LOGITS


def http_answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def logits_answer(rows: int, classes: int = 3) -> bytes:
    message = encode_response("teacher", "1", {LOGITS: (np.ones((rows, classes), np.float32), True)})
    return http_answer("200 OK", message.body, *(f"{name}: {value}" for name, value in message.headers.items()))


class ScriptedServer:
    """Gives one prepared answer per request; the connection ends after an answer that is not whole, or is empty."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = self.sent = 0
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while self._answers and (request := self._read(connection)):
                    self.requests.append(request)
                    answer = self._answers.pop(0)
                    connection.sendall(answer)
                    self.sent += len(answer)
                    if not _is_whole(answer):
                        break
                else:
                    connection.settimeout(10)
                    connection.recv(1)  # the client closes first, so that nothing it sent is lost in a reset

    def _read(self, connection: socket.socket) -> bytes:
        data = b""
        while not _is_whole(data):
            part = connection.recv(65536)
            if not part:
                return b""
            self.received += len(part)
            data += part
        return data


def _is_whole(message: bytes) -> bool:
    head, blank, body = message.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(blank) and len(body) >= sum(int(line.partition(b":")[2]) for line in lengths)
