"""The ledger in PostgreSQL, for servers on several machines.

Each operation is a transaction of its own on one of a few connections. PostgreSQL flushes commits that come
together at once, so that nothing has to be grouped here; and as every charge locks its request and then its client,
no two of them can wait for each other.
"""

import logging
import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import psycopg

from server.ledger import schema
from server.ledger.database import DatabaseLedger
from server.ledger.session import Failpoint, Operation, Result, Row, Session, Value, no_failpoint
from shared.errors import InvalidConfig, Unavailable

CONNECTIONS = 8
BUSY_SECONDS = 10.0
_SETUP_LOCK = 0x6D656B64  # a number that all servers of one database agree on

_log = logging.getLogger("mekd.server.ledger")


class _PostgresSession:
    """A connection that stops at `failpoint` after every statement."""

    def __init__(self, connection: "psycopg.Connection[Row]", failpoint: Failpoint) -> None:
        self.connection, self._failpoint = connection, failpoint

    def execute(self, statement: str, /, **values: Value) -> list[Row]:
        """See `Session.execute`."""
        cursor = self.connection.execute(_in_the_driver_s_style(statement), values or None)
        rows = cursor.fetchall() if cursor.description is not None else []
        self._failpoint(statement)
        return rows


class PostgresLedger(DatabaseLedger):
    """Implements `Ledger`, `KeyDesk` and `Books`. To be closed, or used as a context manager.

    `url` is anything that libpq takes; a password may also come from PGPASSWORD or PGPASSFILE. A lock that is not
    had within `busy_seconds` is `Unavailable`.

    Raises:
        InvalidConfig: no such database, its tables are of another version, or not there while `create` is false.
    """

    def __init__(
        self,
        url: str,
        *,
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
        failpoint: Failpoint = no_failpoint,
    ) -> None:
        self._url, self._busy_seconds, self._failpoint = url, busy_seconds, failpoint
        try:
            with self._connect() as connection:
                _check_tables(connection, create)
        except psycopg.Error as error:
            if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
                # The driver could not read the URL, and its text may hold the password.
                error = psycopg.Error("the URL is not one that PostgreSQL understands")
            raise InvalidConfig(
                f"The PostgreSQL ledger cannot be used: {' '.join(str(error).split())}. "
                "Give postgresql://USER@HOST/DATABASE, of a user who may make tables there."
            ) from None
        self._connections: set[psycopg.Connection[Row]] = set()
        self._of_thread = threading.local()
        self._workers = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="ledger")

    def close(self) -> None:
        """See `KeyDesk.close`."""
        self._workers.shutdown()
        for connection in self._connections:
            connection.close()

    def _read(self, operation: Operation[Result]) -> "Future[Result]":
        return self._workers.submit(self._run, operation)

    def _write(self, operation: Operation[Result]) -> "Future[Result]":
        def transaction(session: Session) -> Result:
            session.execute("BEGIN")
            result = operation(session)
            session.execute("COMMIT")
            return result

        return self._workers.submit(self._run, transaction)

    def _run(self, operation: Operation[Result]) -> Result:
        """Run on this thread's connection, which is left without a transaction, or dropped where it broke."""
        try:
            connection = self._connection()
            try:
                return operation(_PostgresSession(connection, self._failpoint))
            finally:
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self._undo(connection)
        except (psycopg.OperationalError, psycopg.InternalError) as error:  # the latter where it is read-only
            _log.warning("The ledger's database did not do as it was told: %s", error)
            raise Unavailable("The ledger is busy or away. Send the same again.", retry_after=1) from None

    def _connection(self) -> "psycopg.Connection[Row]":
        connection: psycopg.Connection[Row] | None = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = self._of_thread.connection = self._connect()
            self._connections.add(connection)
        return connection

    def _undo(self, connection: "psycopg.Connection[Row]") -> None:
        try:
            connection.rollback()
        except psycopg.OperationalError:
            self._of_thread.connection = None
            self._connections.discard(connection)
            connection.close()

    def _connect(self) -> "psycopg.Connection[Row]":
        timeout = max(2, round(self._busy_seconds))  # seconds; libpq takes whole ones, and none below 2
        connection = psycopg.connect(self._url, autocommit=True, connect_timeout=timeout)
        connection.execute(f"SET lock_timeout = {round(self._busy_seconds * 1000)}".encode())
        # Whatever the database's default: an answer that was sent has to survive the database's crash.
        connection.execute(b"SET synchronous_commit = on")
        return connection


@lru_cache
def _in_the_driver_s_style(statement: str) -> bytes:
    return re.sub(r":(\w+)", r"%(\1)s", statement).encode()


def _check_tables(connection: "psycopg.Connection[Row]", create: bool) -> None:
    """Make the tables where there are none and `create` says so; refuse those of another version."""
    with connection.transaction():
        session = _PostgresSession(connection, no_failpoint)
        session.execute("SELECT pg_advisory_xact_lock(:lock)", lock=_SETUP_LOCK)
        (there,) = session.execute("SELECT to_regclass('ledger_schema') IS NOT NULL")[0]
        if there:
            (version,) = session.execute("SELECT version FROM ledger_schema")[0]
            if version != schema.VERSION:
                raise InvalidConfig(
                    f"The PostgreSQL ledger has schema {version}, this program knows up to {schema.VERSION}. "
                    "Use the newer mekd-server that wrote it, or another database."
                )
        elif create:
            for statement in schema.POSTGRES_TABLES:
                session.execute(statement)
        else:
            raise InvalidConfig("There is no ledger in this PostgreSQL database. Name the right --ledger.")
