"""A run's own count of bytes against the kernel's packets: TCP payload captured on the loopback interface.

    sudo .venv/bin/python -m tests.benchmarks.packet_capture --budget 1000

Needs Linux and CAP_NET_RAW. The server is a process of its own. Bytes that TCP sent again are told by their sequence
numbers and counted apart: the edge counts what it wrote and read, not what the kernel repeats.
"""

import os
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.run import run
from edge.transfer_set.journal import Journal
from tests.benchmarks.fuzz_bodies import prepare
from tests.edge.small import small_config
from tests.server.processes import served

ETH_P_IP = 0x0800
SOL_PACKET, PACKET_STATISTICS = 263, 6  # of linux/if_packet.h
HEADERS_BYTES = 14 + 60 + 60  # the longest of Ethernet, IPv4 and TCP; of a packet more is not read
SYN = 0x02
SETTLE_SECONDS = 0.5  # for the last packets to be read


class Capture:
    """TCP payload to and from `port` on the loopback interface, while the block runs; final once it has ended.

    Loopback never reorders, so a byte is new where its sequence number is beyond all earlier ones of its direction.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.new: Counter[str] = Counter()
        """Bytes by direction, `up` or `down`, each counted once."""
        self.again: Counter[str] = Counter()
        """Bytes by direction that had been sent before."""
        self.packets = self.dropped = 0
        """Packets of `port`, and packets of the interface that came too fast to be read."""
        self._next: dict[tuple[int, int], int] = {}
        """Next sequence number by source and destination port."""
        self._stop = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**26)
        self._socket.bind(("lo", ETH_P_IP))
        self._socket.settimeout(0.1)
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        time.sleep(SETTLE_SECONDS)
        self._stop.set()
        self._thread.join()
        _, self.dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self._socket.close()

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                packet, address = self._socket.recvfrom(HEADERS_BYTES)
            except TimeoutError:
                continue
            if address[2] != socket.PACKET_OUTGOING:  # loopback shows each packet leaving and arriving
                self._take(packet[14:])

    def _take(self, packet: bytes) -> None:
        start = (packet[0] & 15) * 4
        if packet[9] != socket.IPPROTO_TCP:
            return
        length = struct.unpack_from("!H", packet, 2)[0]
        source, destination, sequence = struct.unpack_from("!HHI", packet, start)
        if self._port not in (source, destination):
            return
        self.packets += 1
        flow, direction = (source, destination), "up" if destination == self._port else "down"
        if packet[start + 13] & SYN:
            self._next[flow] = sequence + 1
        if payload := length - start - (packet[start + 12] >> 4) * 4:
            beyond = (sequence + payload - self._next[flow] + 2**31) % 2**32 - 2**31  # sequence numbers wrap around
            new = min(payload, max(0, beyond))
            self.new[direction] += new
            self.again[direction] += payload - new
            self._next[flow] += max(0, beyond)


def main(budget: Annotated[int, typer.Option(help="Queries of the run.")] = 1000) -> None:
    """Capture a run's packets and say what came of it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as log:
        flags, (key,) = prepare(Path(folder), "captured")
        with served(*flags, stderr=log) as (_, url):
            with Capture(int(url.rpartition(":")[2])) as capture, TeacherClient(url, SecretStr(key)) as client:
                run(small_config(budget=budget), client, Path(folder) / "run")
            with Journal(Path(folder) / "run" / "transfer_set.sqlite") as journal:
                counted, queries = journal.traffic(), journal.queries()
    typer.echo(f"{queries} queries, {capture.packets} packets, {capture.dropped} lost to the capture")
    for direction, journalled in (("up", counted.up), ("down", counted.down)):
        captured, again = capture.new[direction], capture.again[direction]
        typer.echo(f"{direction}: journal {journalled:,}, packets {captured:,}, sent again {again:,}")
    if capture.dropped or (counted.up, counted.down) != (capture.new["up"], capture.new["down"]):
        raise SystemExit("The counts differ.")


if __name__ == "__main__":
    typer.run(main)
