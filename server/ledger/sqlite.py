"""The ledger in one SQLite file. Several server processes of one machine may share it.

All writes go through one thread that commits them in groups: under load one flush to disk pays for many requests.
Each operation stands in a savepoint of its own, so that a refused one takes nothing else with it, and nobody
learns an outcome before the group's COMMIT.
"""

import queue
import sqlite3
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any

from server.ledger import schema
from server.ledger.books import Audit, Fault
from server.ledger.database import DatabaseLedger
from server.ledger.session import Failpoint, Operation, Result, Row, Session, Value, no_failpoint
from shared.errors import InvalidConfig, Unavailable

BUSY_SECONDS = 10.0
GROUP_LIMIT = 256
SWITCH_SECONDS = 0.01


class _SqliteSession:
    """A connection that stops at `failpoint` after every statement."""

    def __init__(self, connection: sqlite3.Connection, failpoint: Failpoint = no_failpoint) -> None:
        self.connection, self._failpoint = connection, failpoint

    def execute(self, statement: str, /, **values: Value) -> list[Row]:
        """See `Session.execute`."""
        rows = self.connection.execute(statement, values).fetchall()
        self._failpoint(statement)
        return rows


class SqliteLedger(DatabaseLedger):
    """Implements `Ledger`, `KeyDesk` and `Books`. To be closed, or used as a context manager.

    Raises:
        InvalidConfig: the file is no ledger, of another version, or not there while `create` is false.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        if not create:
            _must_exist(path)
        self._path = path
        self._write_session = _SqliteSession(_open(path, create, busy_seconds), failpoint)
        self._read_session = _SqliteSession(_open(path, create, busy_seconds))
        self._queue: queue.SimpleQueue[tuple[Operation[Any], Future[Any]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="ledger-writer")
        self._writer.start()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")

    def audit(self) -> Audit:
        """See `Books.audit`; also has SQLite look over its file."""
        found = super().audit()
        damage = [text for (text,) in self._read(_damage).result() if text != "ok"]
        return replace(found, faults=(*(Fault("file", str(self._path), text) for text in damage), *found.faults))

    def close(self) -> None:
        """See `KeyDesk.close`."""
        self._queue.put(None)
        self._writer.join()
        self._reader.shutdown()
        self._read_session.connection.close()
        self._write_session.connection.close()

    def _read(self, operation: Operation[Result]) -> "Future[Result]":
        return self._reader.submit(operation, self._read_session)

    def _write(self, operation: Operation[Result]) -> "Future[Result]":
        future: Future[Result] = Future()
        future.set_running_or_notify_cancel()  # a caller that gives up must not make the writer stumble
        self._queue.put((operation, future))
        return future

    def _write_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
            try:
                outcomes = _commit(self._write_session, [operation for operation, _ in group])
            except Exception as error:
                outcomes = [error] * len(group)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)


def migrate_sqlite(path: Path) -> int:
    """Bring the ledger at `path` to this program's schema; the version it had. No server may have it open.

    Raises:
        InvalidConfig: no ledger, one of a newer version, or one in use.
    """
    _must_exist(path)
    try:
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as db:
            db.execute("BEGIN EXCLUSIVE")
            version = _version(db)
            if version == 0 or version > schema.VERSION:
                raise _wrong_version(path, version)
            if version < schema.VERSION:
                for statement in schema.SQLITE_UPGRADE:
                    db.execute(statement)
            db.execute("COMMIT")
            return version
    except sqlite3.DatabaseError as error:
        raise InvalidConfig(f"{path} was not migrated and is as it was: {error}. Stop its servers first.") from None


def _commit(session: _SqliteSession, operations: list[Operation[Any]]) -> list[Any]:
    """Run all in one transaction; the outcome of each is its result, or the exception that undid it alone."""
    try:
        session.execute("BEGIN IMMEDIATE")
        outcomes = [_run(session, operation) for operation in operations]
        session.execute("COMMIT")
    except BaseException as error:
        if session.connection.in_transaction:
            session.connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise _unavailable(error) from None
        raise
    return outcomes


def _run(session: _SqliteSession, operation: Operation[Any]) -> Any:
    session.execute("SAVEPOINT operation")
    try:
        outcome = operation(session)
    except Exception as error:
        session.execute("ROLLBACK TO operation")
        outcome = _unavailable(error) if isinstance(error, sqlite3.OperationalError) else error
    session.execute("RELEASE operation")
    return outcome


def _unavailable(error: sqlite3.OperationalError) -> Unavailable:
    return Unavailable(f"The ledger is busy or cannot be written ({error}). Send the same again.", retry_after=1)


def _damage(session: Session) -> list[Row]:
    return session.execute("PRAGMA integrity_check")


def _open(path: Path, create: bool, busy_seconds: float) -> sqlite3.Connection:
    with ExitStack() as undo:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
            undo.callback(db.close)
            _write_ahead(db, busy_seconds)
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            _make_tables(db, path, create)
        except (OSError, sqlite3.DatabaseError) as error:
            raise InvalidConfig(f"{path} cannot be used as a ledger: {error}.") from None
        undo.pop_all()
    return db


def _write_ahead(db: sqlite3.Connection, busy_seconds: float) -> None:
    """Switch to WAL; of several that do so at once SQLite refuses all but one, without its usual waiting."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(SWITCH_SECONDS)


def _make_tables(db: sqlite3.Connection, path: Path, create: bool) -> None:
    """Make the tables where there are none and `create` says so; refuse those of another version."""
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version(db)
        if version == 0 and create:
            for statement in schema.SQLITE_TABLES:
                db.execute(statement)
        elif version != schema.VERSION:
            raise _wrong_version(path, version)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _wrong_version(path: Path, version: int) -> InvalidConfig:
    if version == 0:
        return InvalidConfig(f"There is no ledger in {path}. Name the right --ledger.")
    if version > schema.VERSION:
        return InvalidConfig(
            f"The ledger {path} has schema {version}, this program knows up to {schema.VERSION}. "
            "Use the newer mekd-server that wrote it, or another ledger file."
        )
    return InvalidConfig(
        f"The ledger {path} has schema {version}, this program needs {schema.VERSION}. Stop its servers, back it up, "
        f"and run: mekd-server ledger migrate --ledger {quote(str(path))}"
    )


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise InvalidConfig(f"There is no ledger at {path}. Name the right --ledger.")
