"""Checking, listing and pruning, on both databases; and no fault goes unseen."""

import time

import pytest

from server.ledger.books import PAGE, Audit, Charge
from shared.errors import AnswerPruned
from tests.server.ledger.asking import answer, known, opened, replay, settle
from tests.server.ledger.databases import Database, SqliteDatabase, check_invariants


def test_sound_books_have_totals_and_no_fault(database: Database) -> None:
    with database.open() as ledger:
        assert ledger.audit() == Audit(clients=0, requests=0, pruned=0, spent=0, costs=0, faults=())
        client = opened(ledger)
        settle(ledger, client, "a", 10, answer("a"))
        settle(ledger, client, "b", 20, answer("b"))
        assert ledger.audit() == Audit(clients=1, requests=2, pruned=0, spent=30, costs=30, faults=())


DAMAGE = {
    "I1": ("UPDATE clients SET spent = 29", "key edge-1", "spent 29, costs of its requests 30"),
    "I2": ("UPDATE clients SET budget = 29", "key edge-1", "spent 30 of a budget of 29"),
    "I4": ("UPDATE requests SET response = NULL WHERE key = 'a'", "client 1 request a", "neither an answer"),
    "I5": ("UPDATE requests SET cost = 30 * (2 - length(key)) WHERE key = 'aa'", "request aa", "cost 0"),
}


@pytest.mark.parametrize("invariant", DAMAGE)
def test_damage_is_found_and_located(database: Database, invariant: str) -> None:
    damage, where, what = DAMAGE[invariant]
    with database.open() as ledger:
        client = opened(ledger)
        settle(ledger, client, "a", 10, answer("a"))
        settle(ledger, client, "aa", 20, answer("b"))
    if not isinstance(database, SqliteDatabase):
        drop_checks(database)
    database.sql(damage)
    with database.open() as ledger:
        found = {fault.invariant: fault for fault in ledger.audit().faults}
    assert where in found[invariant].where and what in found[invariant].what


def test_a_request_that_was_charged_twice_is_found(database: Database) -> None:
    with database.open() as ledger:
        settle(ledger, opened(ledger), "a", 10, answer("a"))
    drop_checks(database)
    database.sql("INSERT INTO requests SELECT * FROM requests")
    with database.open() as ledger:
        faults = ledger.audit().faults
    assert [(f.invariant, f.where, f.what) for f in faults] == [
        ("I1", "key edge-1", "spent 10, costs of its requests 20"),
        ("I3", "client 1 request a", "charged 2 times"),
    ]


def test_an_answer_of_nobody_is_found(database: Database) -> None:
    with database.open() as ledger:
        settle(ledger, opened(ledger), "a", 10, answer("a"))
    drop_checks(database)
    database.sql("DELETE FROM clients")
    with database.open() as ledger:
        assert [(f.invariant, f.where) for f in ledger.audit().faults] == [("I5", "client 1 request a")]


def drop_checks(database: Database) -> None:
    """Take away what keeps the database itself from holding wrong books."""
    if isinstance(database, SqliteDatabase):
        database.sql("ALTER TABLE requests RENAME TO checked")
        database.sql("CREATE TABLE requests AS SELECT * FROM checked")
        database.sql("DROP TABLE checked")
        return
    constraints = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype IN ('c', 'p', 'f')"
    here = " AND connamespace = current_schema()::regnamespace"
    for table, name in database.sql(constraints + here + " ORDER BY contype = 'p'"):
        database.sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def test_a_damaged_file_is_a_fault(sqlite: SqliteDatabase) -> None:
    with sqlite.open() as ledger:
        client = opened(ledger, budget=10_000)
        for number in range(40):
            settle(ledger, client, f"{number:03}", 1, answer("a"))
    sqlite.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    content = sqlite.path.read_bytes()
    sqlite.path.write_bytes(content.replace(b"007", b"999"))
    with sqlite.open() as ledger:
        faults = ledger.audit().faults
    assert {fault.invariant for fault in faults} >= {"file"}


def test_charges_come_in_pages_that_leave_none_out(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger, budget=10_000)
        settle(ledger, client, "00000", 7, answer("a"))
        fill = (
            "INSERT INTO requests SELECT client_id, CAST(10000 + number AS TEXT), fingerprint, 1, response,"
            " header_length, created, pruned FROM requests, numbers"
        )
        numbers = "WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers"
        database.sql(f"{numbers} WHERE number < {PAGE + 5}) {fill}")
        first = ledger.charges(client, "")
        second = ledger.charges(client, first[-1].key)
        assert (len(first), len(second), ledger.charges(client, second[-1].key)) == (PAGE, 6, [])
        assert len({charge.key for charge in first + second}) == PAGE + 6
        assert first[0] == Charge("00000", first[0].created, 7)
        assert abs(first[0].created - time.time()) < 60


def test_a_pruned_answer_is_gone_but_stays_charged_and_is_never_charged_again(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        settle(ledger, client, "old", 10, answer("a"))
        between = time.time()
        settle(ledger, client, "new", 20, answer("b"))
        assert (ledger.prune(between, 50.0), ledger.prune(between, 60.0)) == (1, 0)
        for ask in (lambda: replay(ledger, client, "old"), lambda: settle(ledger, client, "old", 10, answer("a"))):
            with pytest.raises(AnswerPruned, match=r"idempotency key 'old' paid for was pruned.*not charged again"):
                ask()
        assert replay(ledger, client, "new") == answer("b")
        assert known(ledger).spent == 30
        assert ledger.audit() == Audit(clients=1, requests=2, pruned=1, spent=30, costs=30, faults=())
    assert database.sql("SELECT response, pruned FROM requests WHERE key = 'old'") == [(None, 50.0)]
    check_invariants(database)


def test_pruning_goes_on_until_nothing_old_is_left(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger, budget=10_000)
        for number in range(5):
            settle(ledger, client, str(number), 1, answer("a"))
        database.sql("UPDATE requests SET created = 5.0 WHERE key <> '4'")
        assert ledger.prune(6.0, 50.0) == 4
        assert replay(ledger, client, "4") == answer("a")
