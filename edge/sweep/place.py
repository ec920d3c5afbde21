"""Where a sweep's runs lie, and whom they ask: a server that is there, or one that the sweep has started."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.exchange import KEEPALIVE_EXPIRY
from edge.asking.link import Link
from edge.asking.simulated_link import SimulatedLink
from edge.asking.wire_bytes import CountingTransport
from edge.local_cloud import LocalCloud
from edge.run_folder import RunFolder
from edge.stopping import StopRequest
from edge.sweep.grid import Cell

LONGEST_NAME, DIGITS = 64, 8
"""Of a key; and of the digest by which longer ones stay apart."""


@dataclass(frozen=True)
class Cloud:
    """A server, and how to get a key for it."""

    url: str
    key: SecretStr | None = None
    """Pays for all runs; None where every run gets a key of its own."""
    evaluation_key: SecretStr | None = None
    """Pays for the test images; without one, and without keys of our own, nobody asks about them."""
    teacher: Path | None = None
    """Checkpoint that the sweep serves itself."""
    ledger: Path | None = None
    """Of that server."""

    def key_of_run(self, name: str, queries: int, policy: str) -> SecretStr:
        """The key of a run; one of its own has exactly its budget and sees no more than it needs."""
        return self._made(name, queries, policy) if self.key is None else self.key

    def key_of_tests(self, images: int) -> SecretStr | None:
        """The key that asks about the test images, if they are to be asked about."""
        if self.key is None:
            return self._made("evaluation", images, "logits")
        return self.evaluation_key

    def _made(self, name: str, queries: int, policy: str) -> SecretStr:
        assert self.teacher is not None, "without a key, the server is ours"
        assert self.ledger is not None, "without a key, the server is ours"
        return LocalCloud(self.teacher, self.ledger).create_key(key_name(name), queries, policy)


def key_name(name: str) -> str:
    """What the key of a run is called, as servers allow it."""
    flat = name.replace("/", "_")
    if len(flat) <= LONGEST_NAME:
        return flat
    return f"{flat[: LONGEST_NAME - DIGITS - 1]}-{sha256(name.encode()).hexdigest()[:DIGITS]}"


@dataclass(frozen=True)
class Place:
    """What all tasks of a sweep need to know."""

    out: Path
    """The sweep's folder. Tasks on several machines need it on a disk that they share."""
    data_root: Path | None
    """Folder of the datasets that live in files."""
    clouds: dict[str, Cloud]
    """By dataset."""
    link: Link | None = None
    """That the teacher is behind."""

    def folder(self, cell: Cell) -> RunFolder:
        """The run of a cell."""
        return RunFolder(self.out / cell.name)

    def generator(self, name: str) -> RunFolder:
        """Where a generator is made that several runs share."""
        return RunFolder(self.out / name)

    def test_answers(self, dataset: str) -> Path:
        """Journal of what the teacher said to the test images."""
        return self.out / dataset / "test_answers.sqlite"

    @contextmanager
    def teacher(self, dataset: str, key: SecretStr, stop: StopRequest, seed: int) -> Iterator[TeacherClient]:
        """The teacher, behind the link if there is one."""
        transport: httpx.BaseTransport = CountingTransport(keepalive_expiry=KEEPALIVE_EXPIRY)
        if self.link:
            transport = SimulatedLink(transport, self.link, seed)
        with (
            httpx.Client(transport=transport) as http,
            TeacherClient(self.clouds[dataset].url, key, http=http, sleep=stop.sleep) as teacher,
        ):
            yield teacher
