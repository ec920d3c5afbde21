"""The ledger in one SQLite file. Several server processes of one machine may share it.

All writes go through one thread that commits them in groups: under load one flush to disk pays for many requests.
Each operation stands in a savepoint of its own, so that a refused one takes nothing else with it, and nobody
learns an outcome before the group's COMMIT.
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from server.ledger.protocol import Account, Client, Settled, StoredAnswer
from shared.errors import InvalidConfig, Unavailable

SCHEMA_VERSION = 1
SCHEMA = (
    """
    CREATE TABLE clients (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        key_hash BLOB NOT NULL UNIQUE,
        budget INTEGER NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0 CHECK (0 <= spent AND spent <= budget),
        policy TEXT NOT NULL,
        images_per_minute INTEGER NOT NULL CHECK (images_per_minute > 0),
        expires REAL,
        revoked REAL
    ) STRICT
    """,
    """
    CREATE TABLE requests (
        client_id INTEGER NOT NULL REFERENCES clients (id),
        key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        cost INTEGER NOT NULL CHECK (cost > 0),
        response BLOB NOT NULL,
        header_length INTEGER,
        created REAL NOT NULL,
        PRIMARY KEY (client_id, key)
    ) STRICT
    """,
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
BUSY_SECONDS = 10.0
GROUP_LIMIT = 256

Result = TypeVar("Result")
Operation = Callable[[sqlite3.Connection], Any]

_CLIENT = "SELECT id, name, budget, policy, images_per_minute, expires, spent, revoked, key_hash FROM clients"
_ANSWER = "SELECT fingerprint, response, header_length FROM requests WHERE client_id = ? AND key = ?"


class SqliteLedger:
    """Implements `Ledger` and `KeyDesk`. To be closed, or used as a context manager.

    Raises:
        InvalidConfig: the file is no ledger, or a newer version of this program wrote it.
    """

    def __init__(self, path: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._write_connection = _open(path, busy_seconds)
        self._read_connection = _open(path, busy_seconds)
        self._queue: queue.SimpleQueue[tuple[Operation, Future[Any]] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_groups, name="ledger-writer")
        self._writer.start()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def client(self, key_hash: bytes) -> Client | None:
        """See `Ledger.client`."""
        select = f"{_CLIENT} WHERE key_hash = ?"
        row = await self._read(lambda: self._read_connection.execute(select, (key_hash,)).fetchone())
        return None if row is None else _client(row)

    async def answer(self, client: Client, key: str) -> StoredAnswer | None:
        """See `Ledger.answer`."""
        return await self._read(lambda: _stored(self._read_connection, client, key))

    async def settle(self, client: Client, key: str, cost: int, answer: StoredAnswer) -> Settled:
        """See `Ledger.settle`."""
        return await asyncio.wrap_future(self._submit(lambda db: _settle(db, client, key, cost, answer)))

    def create(self, account: Account, key_hash: bytes) -> None:
        """See `KeyDesk.create`."""
        self._submit(lambda db: _create(db, account, key_hash)).result()

    def clients(self) -> list[Client]:
        """See `KeyDesk.clients`."""
        select = f"{_CLIENT} ORDER BY name"
        return self._reader.submit(lambda: [_client(row) for row in self._read_connection.execute(select)]).result()

    def revoke(self, name: str, now: float) -> None:
        """See `KeyDesk.revoke`."""
        self._submit(lambda db: _revoke(db, name, now)).result()

    def close(self) -> None:
        """See `KeyDesk.close`."""
        self._queue.put(None)
        self._writer.join()
        self._reader.shutdown()
        self._read_connection.close()
        self._write_connection.close()

    async def _read(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._reader, function)

    def _submit(self, operation: Callable[[sqlite3.Connection], Result]) -> "Future[Result]":
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
                outcomes = _commit(self._write_connection, [operation for operation, _ in group])
            except Exception as error:
                outcomes = [error] * len(group)
            for (_, future), outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)


def _commit(db: sqlite3.Connection, operations: list[Operation]) -> list[Any]:
    """Run all in one transaction; the outcome of each is its result, or the exception that undid it alone."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise Unavailable(f"The ledger is busy ({error}). Send the same again.", retry_after=1) from None
    outcomes: list[Any] = []
    try:
        for operation in operations:
            db.execute("SAVEPOINT operation")
            try:
                outcomes.append(operation(db))
            except Exception as error:
                db.execute("ROLLBACK TO operation")
                outcomes.append(error)
            db.execute("RELEASE operation")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return outcomes


def _settle(db: sqlite3.Connection, client: Client, key: str, cost: int, answer: StoredAnswer) -> Settled:
    inserted = db.execute(
        "INSERT INTO requests (client_id, key, fingerprint, cost, response, header_length, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
        (client.id, key, answer.fingerprint, cost, answer.body, answer.header_length, time.time()),
    ).fetchone()
    if inserted is None:
        stored = _stored(db, client, key)
        assert stored is not None
        stored.check(answer.fingerprint)
        return Settled(stored, replayed=True)
    charged = db.execute(
        "UPDATE clients SET spent = spent + :cost WHERE id = :id AND spent + :cost <= budget RETURNING spent",
        {"cost": cost, "id": client.id},
    ).fetchone()
    if charged is None:
        raise _client(db.execute(f"{_CLIENT} WHERE id = ?", (client.id,)).fetchone()).exhausted(cost)
    return Settled(answer, replayed=False)


def _create(db: sqlite3.Connection, account: Account, key_hash: bytes) -> None:
    inserted = db.execute(
        "INSERT INTO clients (name, key_hash, budget, policy, images_per_minute, expires)"
        " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING RETURNING 1",
        (account.name, key_hash, account.budget, account.policy, account.images_per_minute, account.expires),
    ).fetchone()
    if inserted is None:
        raise InvalidConfig(f"There is a key named '{account.name}' already. Choose another name.")


def _revoke(db: sqlite3.Connection, name: str, now: float) -> None:
    update = "UPDATE clients SET revoked = coalesce(revoked, ?) WHERE name = ? RETURNING 1"
    if db.execute(update, (now, name)).fetchone() is None:
        raise InvalidConfig(f"There is no key named '{name}'. `mekd-server keys list` shows all.")


def _stored(db: sqlite3.Connection, client: Client, key: str) -> StoredAnswer | None:
    row = db.execute(_ANSWER, (client.id, key)).fetchone()
    return None if row is None else StoredAnswer(*row)


def _client(row: tuple[Any, ...]) -> Client:
    id_, name, budget, policy, images_per_minute, expires, spent, revoked, key_hash = row
    return Client(id_, Account(name, budget, policy, images_per_minute, expires), spent, revoked, key_hash)


def _open(path: Path, busy_seconds: float) -> sqlite3.Connection:
    with ExitStack() as undo:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
            undo.callback(db.close)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            _migrate(db, path)
        except (OSError, sqlite3.DatabaseError) as error:
            raise InvalidConfig(f"{path} cannot be used as a ledger: {error}.") from None
        undo.pop_all()
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables where there are none; refuse what this program cannot read."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise InvalidConfig(
                f"The ledger {path} has schema {version}, this program knows up to {SCHEMA_VERSION}. "
                "Use the newer mekd-server that wrote it, or another ledger file."
            )
        if version == 0:
            for statement in SCHEMA:
                db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
