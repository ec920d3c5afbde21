"""The write-ahead journal of everything that was asked, which is the transfer set at the same time.

A request is written, with its images and its idempotency key, *before* it is sent; its answer goes into the same row
before anybody learns from it. So whatever dies in between, the next process finds either the answer, or the images
and the key with which asking again is free:

    requests(stage, step, key, output, shape, images, sent, answer)    in the order of asking
    traffic(stage, bytes_up, bytes_down, link_seconds)                 what crossed the wire, refusals included
    notes(name, value)                                                 small facts about the run, as JSON
    run(id)                                                            a random name; key = uuid5(id, "stage/step")

A row holds the images as they were given. `sent` marks those that the request carried: an image that the journal
has an answer to already is not paid for again, and the row simply holds that answer twice.

SQLite in WAL mode with synchronous=FULL: what is committed survives a power cut. One process at a time.
"""

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.asking.wire_bytes import Traffic
from edge.transfer_set.journal_schema import APPLICATION_ID, VERSION, create, migrate
from edge.transfer_set.lock import exclusive_lock
from shared.errors import InvalidCheckpoint, RunMismatch
from shared.protocol import LABEL

Images = NDArray[np.uint8]
Answers = NDArray[Any]


@dataclass(frozen=True)
class TransferSet:
    """Images uint8 [N, C, H, W] and what the teacher said to them: float32 [N, K], or int64 [N] for `label`."""

    images: Images
    answers: Answers
    output: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Request:
    """One row: the images given, which of them the request carries, and the answers to all of them once known."""

    stage: str
    step: int
    key: str
    output: str
    images: Images
    sent: NDArray[np.bool_]
    answers: Answers | None = None


@dataclass(frozen=True)
class Payment:
    """An answered request: what it cost, and when, in seconds since 1970."""

    stage: str
    queries: int
    asked: float
    answered: float


def digests(images: Images) -> list[bytes]:
    """What makes two images the same one: the sha256 of their pixels."""
    return [sha256(image.tobytes()).digest() for image in images]


class Journal(AbstractContextManager["Journal"]):
    """The journal at `path`, created where there is none; use it as a context manager, or `close` it.

    Raises, here and from every method:
        InvalidCheckpoint: the file is corrupt, not a journal, or of another version.
        RunMismatch: another process has it open.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = exclusive_lock(path)
        try:
            # A run may ask from a worker thread; it is one at a time, and SQLite itself is serialised.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self.run_id = self._opened()
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let other processes have it."""
        self._db.close()
        os.close(self._lock)

    def _opened(self) -> uuid.UUID:
        with self._reading():
            if self._one("PRAGMA schema_version") == 0:
                with self._writing():
                    create(self._db)
            if self._one("PRAGMA application_id") != APPLICATION_ID:
                raise InvalidCheckpoint(f"{self._path} is a database, but not a MEKD journal. Choose another folder.")
            if self._one("PRAGMA user_version") == 1:
                with self._writing():
                    migrate(self._db)
            if (version := self._one("PRAGMA user_version")) != VERSION:
                raise InvalidCheckpoint(f"{self._path} is a journal of version {version}; this is {VERSION}.")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            return uuid.UUID(self._one("SELECT id FROM run"))

    def add(self, stage: str, step: int, output: str, images: Images, sent: NDArray[np.bool_]) -> Request:
        """Store an unanswered request; once this returns, it may be sent.

        Args:
            stage: part of the run, for instance `deprivatization`.
            step: place within the stage, from 0.
            output: what is asked for.
            images: uint8 [N, C, H, W].
            sent: bool [N], true for the images that the request carries.
        """
        key = str(uuid.uuid5(self.run_id, f"{stage}/{step}"))
        with self._writing():
            self._db.execute(
                "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, NULL)",
                (stage, step, key, output, json.dumps(images.shape), images.tobytes(), sent.tobytes(), self._clock()),
            )
        return Request(stage, step, key, output, images, sent)

    def answer(self, request: Request, answers: Answers, traffic: Traffic) -> Request:
        """Store the answers float32 [N, K] or int64 [N] and the bytes that they took; then learn from them."""
        with self._writing():
            self._db.execute(
                "UPDATE requests SET answer = ?, answered = ? WHERE key = ?",
                (answers.tobytes(), self._clock(), request.key),
            )
            self._add_traffic(request.stage, traffic)
        return replace(request, answers=answers)

    def shrink(self, request: Request, size: int, traffic: Traffic) -> Request | None:
        """Keep the first `size` images of a request that was refused uncharged; of size 0 nothing remains."""
        shrunk = replace(request, images=request.images[:size], sent=request.sent[:size])
        with self._writing():
            if size == 0:
                self._db.execute("DELETE FROM requests WHERE key = ?", (request.key,))
            else:
                self._db.execute(
                    "UPDATE requests SET shape = ?, images = ?, sent = ? WHERE key = ?",
                    (json.dumps(shrunk.images.shape), shrunk.images.tobytes(), shrunk.sent.tobytes(), request.key),
                )
            self._add_traffic(request.stage, traffic)
        return shrunk if size else None

    def add_traffic(self, stage: str, traffic: Traffic) -> None:
        """Count bytes that brought no answer."""
        with self._writing():
            self._add_traffic(stage, traffic)

    def note(self, name: str, value: Any) -> None:
        """Store a small fact, as JSON, in the place of an earlier one of that name."""
        text = json.dumps(value, allow_nan=False)
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, text))

    def notes(self) -> dict[str, Any]:
        """All facts, by name."""
        with self._reading():
            rows = self._db.execute("SELECT name, value FROM notes ORDER BY rowid").fetchall()
            return {name: json.loads(value) for name, value in rows}

    def find(self, stage: str, step: int) -> Request | None:
        """The request at that place, if it was ever written."""
        return next(self._requests("stage = ? AND step = ?", (stage, step)), None)

    def answered(self, stage: str | None = None) -> Iterator[Request]:
        """Answered requests of `stage`, or of all stages, in the order of asking, one at a time in memory."""
        return self._requests("answer IS NOT NULL AND stage = ifnull(?, stage)", (stage,))

    def transfer_set(self, stage: str | None = None) -> TransferSet:
        """Everything answered in `stage`, or in all stages, in the order of asking.

        Raises:
            RunMismatch: nothing was answered, or stages asked for different outputs or shapes.
        """
        requests = list(self.answered(stage))
        if not requests:
            raise RunMismatch(f"{self._path} holds no answers{f' of stage {stage!r}' if stage else ''}. Ask first.")
        if len({(request.output, request.images.shape[1:]) for request in requests}) > 1:
            raise RunMismatch(f"{self._path} holds different outputs or image shapes. Choose one stage.")
        images = np.concatenate([request.images for request in requests])
        answers = np.concatenate([request.answers for request in requests if request.answers is not None])
        return TransferSet(images, answers, requests[0].output)

    def unique_images(self) -> int:
        """Distinct images that this journal's requests carried, and that were answered: what the server charged."""
        return len({digest for request in self.answered() for digest in digests(request.images[request.sent])})

    def queries(self, stage: str | None = None) -> int:
        """Images paid for in `stage`, or in all stages."""
        return sum(int(request.sent.sum()) for request in self.answered(stage))

    def payments(self) -> list[Payment]:
        """When the answered requests were asked and answered, in the order of asking."""
        with self._reading():
            query = "SELECT stage, sent, asked, answered FROM requests WHERE answer IS NOT NULL ORDER BY rowid"
            rows = self._db.execute(query).fetchall()
        return [Payment(stage, sum(sent), asked, answered) for stage, sent, asked, answered in rows]

    def asked(self) -> int:
        """Images in all requests ever written, answered or not: the most that the server can have charged."""
        return sum(int(request.sent.sum()) for request in self._requests("1", ()))

    def traffic(self, stage: str | None = None) -> Traffic:
        """Bytes on the wire and seconds on a simulated link for `stage`, or for all stages."""
        with self._reading():
            up, down, link_seconds = self._db.execute(
                "SELECT sum(bytes_up), sum(bytes_down), total(link_seconds) FROM traffic"
                " WHERE stage = ifnull(?, stage)",
                (stage,),
            ).fetchone()
        return Traffic(up or 0, down or 0, link_seconds=link_seconds)

    def _requests(self, where: str, values: tuple[Any, ...]) -> Iterator[Request]:
        columns = "stage, step, key, output, shape, images, sent, answer"
        with self._reading():
            query = f"SELECT {columns} FROM requests WHERE {where} ORDER BY rowid"  # noqa: S608 - our own words
            for row in self._db.execute(query, values):
                yield _request(*row)

    def _add_traffic(self, stage: str, traffic: Traffic) -> None:
        self._db.execute(
            "INSERT INTO traffic (stage, bytes_up, bytes_down, link_seconds) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (stage) DO UPDATE SET bytes_up = bytes_up + excluded.bytes_up,"
            " bytes_down = bytes_down + excluded.bytes_down, link_seconds = link_seconds + excluded.link_seconds",
            (stage, traffic.up, traffic.down, traffic.link_seconds),
        )

    def _one(self, query: str) -> Any:
        return self._db.execute(query).fetchone()[0]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise InvalidCheckpoint(f"{self._path} cannot be used as a journal: {error}.") from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                yield


def _request(
    stage: str, step: int, key: str, output: str, shape: str, images: bytes, sent: bytes, answer: bytes | None
) -> Request:
    dimensions = json.loads(shape)
    pixels = np.frombuffer(images, np.uint8).reshape(dimensions)
    answers = None
    if answer is not None:
        answers = np.frombuffer(answer, np.int64 if output == LABEL else np.float32)
        answers = answers.reshape(dimensions[0] if output == LABEL else (dimensions[0], -1))
    return Request(stage, step, key, output, pixels, np.frombuffer(sent, np.bool_), answers)
