"""What is the file's own: other files, other versions, locks, and a copy taken while it is written."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from server.ledger import migrate, open_ledger
from server.ledger.protocol import Account
from server.ledger.sqlite import SqliteLedger
from shared.errors import InvalidConfig, Unavailable
from tests.server.ledger.asking import answer, known, opened, replay, settle
from tests.server.ledger.databases import SqliteDatabase, check_invariants
from tests.server.ledger.version_1 import write_version_1


def test_a_database_locked_for_too_long_is_unavailable_and_charges_nothing(sqlite: SqliteDatabase) -> None:
    with sqlite.open(busy_seconds=0.05) as ledger:
        client = opened(ledger)
        with closing(sqlite3.connect(sqlite.path, isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="ledger is busy"):
                settle(ledger, client, "k", 1, answer("a"))
            with pytest.raises(Unavailable, match="ledger is busy"):
                asyncio.run(ledger.check_writable())
            blocker.execute("ROLLBACK")
        assert settle(ledger, client, "k", 1, answer("a")).replayed is False
        assert known(ledger).spent == 1


def test_a_full_disk_is_unavailable_and_charges_nothing(sqlite: SqliteDatabase) -> None:
    def disk_is_full(statement: str) -> None:
        if full and statement.startswith("INSERT INTO requests"):
            raise sqlite3.OperationalError("database or disk is full")

    full = False
    with sqlite.open(failpoint=disk_is_full) as ledger:
        client = opened(ledger)
        full = True
        with pytest.raises(Unavailable, match="disk is full"):
            settle(ledger, client, "k", 1, answer("a"))
        full = False
        assert known(ledger).spent == 0
        assert settle(ledger, client, "k", 1, answer("a")).replayed is False


def test_a_newer_schema_is_refused_and_left_alone(sqlite: SqliteDatabase) -> None:
    sqlite.open().close()
    sqlite.sql("PRAGMA user_version = 99")
    for refuse in (open_ledger, migrate):
        with pytest.raises(InvalidConfig, match="has schema 99, this program knows up to 2"):
            refuse(sqlite.url)
    assert sqlite.sql("PRAGMA user_version") == [(99,)]


def test_an_earlier_schema_is_refused_with_the_command_that_migrates_it(tmp_path: Path) -> None:
    write_version_1(path := tmp_path / "ledger.sqlite")
    before = path.read_bytes()
    with pytest.raises(InvalidConfig, match=f"schema 1.* needs 2.*mekd-server ledger migrate --ledger {path}$"):
        SqliteLedger(path)
    assert path.read_bytes() == before


def test_a_migrated_ledger_has_all_keys_charges_and_answers(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "ledger.sqlite")
    write_version_1(database.path)
    assert (migrate(database.url), migrate(database.url)) == (1, 2)
    with database.open() as ledger:
        client = known(ledger)
        assert (client.account, client.spent) == (Account("edge-1", 100, "top1", 60, 9e9), 30)
        assert [replay(ledger, client, key) for key in "abc"] == [answer("a"), answer("b"), None]
        settle(ledger, client, "c", 70, answer("c"))
        assert [(c.id, c.account.name, c.revoked) for c in ledger.clients()] == [
            (1, "edge-1", None),
            (7, "edge-2", 8.5),
        ]
        assert ledger.audit().faults == ()
    fresh = SqliteDatabase(tmp_path / "fresh.sqlite")
    fresh.open().close()
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    assert database.sql(schema) == fresh.sql(schema)
    assert database.sql("PRAGMA foreign_key_check") == []
    check_invariants(database)


def test_a_ledger_in_use_is_not_migrated(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "ledger.sqlite")
    write_version_1(database.path)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as user:
        user.execute("BEGIN IMMEDIATE")
        with pytest.raises(InvalidConfig, match=r"is as it was: database is locked\. Stop its servers"):
            migrate(database.url)
        user.execute("ROLLBACK")
    assert database.sql("PRAGMA user_version") == [(1,)]


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(InvalidConfig, match="cannot be used as a ledger"):
        SqliteLedger(tmp_path / "notes.txt")
    with pytest.raises(InvalidConfig, match="is as it was: file is not a database"):
        migrate(str(tmp_path / "notes.txt"))
    with pytest.raises(InvalidConfig, match=r"no ledger for 'mysql://'"):
        open_ledger("mysql://host/db")
    with pytest.raises(InvalidConfig, match="cannot be used as a ledger"):
        open_ledger(str(tmp_path))


def test_a_ledger_that_has_to_be_there_is_not_made(tmp_path: Path) -> None:
    for refuse in (lambda url: open_ledger(url, create=False), migrate):
        with pytest.raises(InvalidConfig, match="There is no ledger at"):
            refuse(str(tmp_path / "typo.sqlite"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.sqlite").touch()
    for refuse in (lambda url: open_ledger(url, create=False), migrate):
        with pytest.raises(InvalidConfig, match="There is no ledger in"):
            refuse(str(tmp_path / "empty.sqlite"))
