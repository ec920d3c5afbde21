"""What is PostgreSQL's own: connections that break, locks, URLs, and secrets in them."""

import asyncio
import logging
import subprocess
import sys

import psycopg
import pytest

from server.ledger import migrate, open_ledger
from server.ledger.postgres import CONNECTIONS, PostgresLedger
from shared.errors import InvalidConfig, Unavailable
from tests.server.ledger.asking import answer, known, opened, settle
from tests.server.ledger.databases import PostgresDatabase, check_invariants

CUT_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"


def test_broken_connections_are_unavailable_once_and_then_made_anew(
    postgres: PostgresDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres.open() as ledger:
        client = opened(ledger)
        postgres.sql(CUT_OTHERS + " AND pid <> pg_backend_pid()")
        refusals = list[Unavailable]()
        for _ in range(CONNECTIONS + 1):  # each of the connections may be a broken one
            try:
                settle(ledger, client, "k", 1, answer("a"))
            except Unavailable as error:
                refusals.append(error)
        assert 0 < len(refusals) <= CONNECTIONS
        assert {str(error) for error in refusals} == {"The ledger is busy or away. Send the same again."}
        assert known(ledger).spent == 1
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    check_invariants(postgres)


def test_a_connection_cut_within_the_transaction_charges_nothing(postgres: PostgresDatabase) -> None:
    def cut(statement: str) -> None:
        if cutting and statement.startswith("UPDATE clients"):
            postgres.sql(CUT_OTHERS + " AND pid <> pg_backend_pid()")

    cutting = False
    with postgres.open(failpoint=cut) as ledger:
        client = opened(ledger)
        cutting = True
        with pytest.raises(Unavailable, match="Send the same again"):
            settle(ledger, client, "k", 1, answer("a"))
        cutting = False
        with postgres.open() as other:
            assert known(other).spent == 0
    check_invariants(postgres)


def test_a_row_locked_for_too_long_is_unavailable_and_charges_nothing(postgres: PostgresDatabase) -> None:
    with postgres.open(busy_seconds=0.05) as ledger, psycopg.connect(postgres.url) as blocker:
        client = opened(ledger)
        blocker.execute("SELECT 1 FROM clients FOR UPDATE")
        with pytest.raises(Unavailable, match="ledger is busy"):
            settle(ledger, client, "k", 1, answer("a"))
        blocker.rollback()
        assert settle(ledger, client, "k", 1, answer("a")).replayed is False
        assert known(ledger).spent == 1


def test_commits_are_flushed_whatever_the_database_s_default(postgres: PostgresDatabase) -> None:
    (name,) = postgres.sql("SELECT current_database()")[0]
    postgres.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with PostgresLedger(postgres.url) as ledger:
        assert ledger._read(lambda db: db.execute("SHOW synchronous_commit")).result() == [("on",)]


def test_a_newer_schema_is_refused_and_left_alone(postgres: PostgresDatabase) -> None:
    postgres.open().close()
    assert migrate(postgres.url) == 2
    postgres.sql("UPDATE ledger_schema SET version = 99")
    for refuse in (open_ledger, migrate):
        with pytest.raises(InvalidConfig, match="has schema 99, this program knows up to 2"):
            refuse(postgres.url)


def test_what_is_no_ledger_is_refused_and_no_tables_are_made(postgres: PostgresDatabase) -> None:
    for refuse in (lambda url: open_ledger(url, create=False), migrate):
        with pytest.raises(InvalidConfig, match="no ledger in this PostgreSQL database"):
            refuse(postgres.url)
    assert postgres.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://mekd:S3CRET@127.0.0.1:1/ledger", "cannot be used: connection"),
        ("postgresql://mekd:S3CRET@127.0.0.1:nonsense/ledger", "cannot be used: connection is bad: invalid integer"),
        ("postgres://mekd:S3CRET@127.0.0.1/ledger?no_such_option=1", "not one that PostgreSQL understands"),
    ],
)
def test_a_database_that_cannot_be_reached_is_said_without_the_password(url: str, words: str) -> None:
    with pytest.raises(InvalidConfig, match=words) as e:
        open_ledger(url)
    assert "S3CRET" not in str(e.value)


def test_a_user_who_may_not_make_tables_is_said(postgres: PostgresDatabase) -> None:
    postgres.sql("CREATE ROLE reader LOGIN")
    with pytest.raises(InvalidConfig, match=r"permission denied for schema public.*who may make tables"):
        open_ledger(postgres.url.replace("mekd@", "reader@"))


def test_a_database_that_is_read_only_is_not_writable(postgres: PostgresDatabase) -> None:
    (name,) = postgres.sql("SELECT current_database()")[0]
    postgres.open().close()
    with postgres.open() as ledger:
        postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with pytest.raises(Unavailable):
            asyncio.run(ledger.check_writable())


def test_without_the_driver_the_way_to_get_it_is_said() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from server.ledger import open_ledger\n"
        "open_ledger('postgresql://host/ledger')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "needs its driver" in result.stderr and "pip install '.[server,postgres]'" in result.stderr


def test_closing_ends_all_connections(postgres: PostgresDatabase) -> None:
    with PostgresLedger(postgres.url) as ledger:
        client = opened(ledger)

        async def many() -> None:
            await asyncio.gather(*(ledger.settle(client, str(n), 1, answer("a")) for n in range(50)))

        asyncio.run(many())
    connections = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(100):
        if postgres.sql(connections) == [(0,)]:
            return
    raise AssertionError(postgres.sql(connections))
