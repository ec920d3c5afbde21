"""Both kinds of database, alike to a test: open ledgers on it, and look behind the ledger's back by plain SQL."""

import itertools
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from server.ledger.database import DatabaseLedger
from server.ledger.postgres import PostgresLedger
from server.ledger.session import Row
from server.ledger.sqlite import SqliteLedger

_numbers = itertools.count()


class Database(Protocol):
    @property
    def url(self) -> str: ...

    def open(self, **options: Any) -> DatabaseLedger: ...

    def sql(self, statement: str) -> list[Row]: ...


@dataclass(frozen=True)
class SqliteDatabase:
    path: Path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def open(self, **options: Any) -> DatabaseLedger:
        return SqliteLedger(self.path, **options)

    def sql(self, statement: str) -> list[Row]:
        """Run by itself, with the checks off that would keep a test from breaking the books."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("PRAGMA ignore_check_constraints = ON")
            return db.execute(statement).fetchall()


@dataclass(frozen=True)
class PostgresDatabase:
    url: str

    def open(self, **options: Any) -> DatabaseLedger:
        return PostgresLedger(self.url, **options)

    def sql(self, statement: str) -> list[Row]:
        with psycopg.connect(self.url, autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []


def at_url(url: str) -> Database:
    """The database behind a `url` of one of the two."""
    is_file = url.startswith("sqlite:///")
    return SqliteDatabase(Path(url.removeprefix("sqlite:///"))) if is_file else PostgresDatabase(url)


def new_postgres_schema(server_url: str) -> PostgresDatabase:
    """As good as an empty database on the server at `server_url`, and made in no time: a schema of one's own."""
    name = f"ledger_{next(_numbers)}"
    PostgresDatabase(server_url).sql(f"CREATE SCHEMA {name}")
    return PostgresDatabase(f"{server_url}&options=-csearch_path%3D{name}")


def new_postgres_database(server_url: str) -> PostgresDatabase:
    """An empty database on the server at `server_url`, the URL of its database `postgres`."""
    name = f"ledger_{next(_numbers)}"
    PostgresDatabase(server_url).sql(f"CREATE DATABASE {name}")
    return PostgresDatabase(server_url.replace("/postgres?", f"/{name}?"))


def check_invariants(database: Database) -> None:
    """I1 to I4, by SQL, without the code under test."""
    if isinstance(database, SqliteDatabase):
        assert database.sql("PRAGMA integrity_check") == [("ok",)]
    costs = "(SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM requests WHERE client_id = id)"
    for budget, spent, stored in database.sql(f"SELECT budget, spent, {costs} FROM clients"):
        assert spent == stored
        assert 0 <= spent <= budget
    assert database.sql("SELECT count(*) FROM requests") == (
        database.sql("SELECT count(*) FROM (SELECT DISTINCT client_id, key FROM requests) AS keys")
    )
    assert database.sql("SELECT key FROM requests WHERE response IS NULL AND pruned IS NULL") == []
