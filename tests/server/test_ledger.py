"""The invariants of `server.ledger.protocol`, one file under several writers, and what a crash leaves behind."""

import asyncio
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.ledger import open_ledger
from server.ledger.protocol import Account, Client, Settled, StoredAnswer
from server.ledger.sqlite import SqliteLedger
from shared.errors import BudgetExhausted, InvalidConfig, KeyReused, Unavailable

HASH = hashlib.sha256(b"key").digest()


def account(name: str = "edge-1", budget: int = 100) -> Account:
    return Account(name, budget, "logits", 60_000)


def opened(ledger: SqliteLedger, budget: int = 100) -> Client:
    ledger.create(account(budget=budget), HASH)
    return known(ledger)


def known(ledger: SqliteLedger) -> Client:
    client = asyncio.run(ledger.client(HASH))
    assert client is not None
    return client


def answer(text: str) -> StoredAnswer:
    return StoredAnswer(hashlib.sha256(text.encode()).digest(), text.encode() * 3, None)


def settle(ledger: SqliteLedger, client: Client, key: str, cost: int, stored: StoredAnswer) -> Settled:
    return asyncio.run(ledger.settle(client, key, cost, stored))


def check_invariants(path: Path) -> None:
    """I1 to I4, by SQL, without the code under test."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        costs = "(SELECT coalesce(sum(cost), 0) FROM requests WHERE client_id = id)"
        for budget, charged, stored in db.execute(f"SELECT budget, spent, {costs} FROM clients").fetchall():
            assert charged == stored
            assert 0 <= charged <= budget
        assert db.execute("SELECT count(*) FROM requests").fetchone() == (
            db.execute("SELECT count(*) FROM (SELECT DISTINCT client_id, key FROM requests)").fetchone()
        )
    db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "ledger.sqlite"


def test_a_charge_is_stored_and_replayed_with_the_same_bytes(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        client = opened(ledger)
        assert settle(ledger, client, "k", 30, answer("a")) == Settled(answer("a"), replayed=False)
        assert asyncio.run(ledger.answer(client, "k")) == answer("a")
        assert settle(ledger, client, "k", 30, answer("a")) == Settled(answer("a"), replayed=True)
        assert known(ledger).spent == 30
    check_invariants(path)


def test_a_lost_race_replays_what_the_winner_stored(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        client = opened(ledger)
        winner, loser = StoredAnswer(b"same question", b"one", 3), StoredAnswer(b"same question", b"other", 3)
        settle(ledger, client, "k", 1, winner)
        assert settle(ledger, client, "k", 1, loser) == Settled(winner, replayed=True)


def test_a_key_reused_for_another_question_is_refused_and_not_charged(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        client = opened(ledger)
        settle(ledger, client, "k", 30, answer("a"))
        with pytest.raises(KeyReused, match="nothing was charged"):
            settle(ledger, client, "k", 30, answer("b"))
        assert known(ledger).spent == 30


def test_a_charge_beyond_the_budget_is_refused_whole(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        client = opened(ledger)
        settle(ledger, client, "k", 98, answer("a"))
        with pytest.raises(
            BudgetExhausted, match=r"98 of 100 images used by key 'edge-1', 2 remaining, 3 requested"
        ) as e:
            settle(ledger, client, "m", 3, answer("b"))
        assert e.value.members == {"remaining": 2, "requested": 3}
        assert asyncio.run(ledger.answer(client, "m")) is None
        settle(ledger, client, "n", 2, answer("c"))
        assert known(ledger).remaining == 0
    check_invariants(path)


def test_the_same_idempotency_key_of_two_clients_is_two_keys(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        first = opened(ledger)
        ledger.create(account("edge-2"), b"other")
        second = asyncio.run(ledger.client(b"other"))
        assert second is not None
        settle(ledger, first, "k", 1, answer("a"))
        assert not settle(ledger, second, "k", 1, answer("b")).replayed


steps = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["q", "r"]), st.integers(1, 40), st.booleans()), max_size=25
)


@settings(max_examples=20, deadline=None)
@given(steps, st.integers(0, 120))
def test_any_history_over_two_ledgers_is_what_a_plain_model_says(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[str, str, int, bool]], budget: int
) -> None:
    path = tmp_path_factory.mktemp("history") / "ledger.sqlite"
    bought: dict[str, tuple[str, int]] = {}
    with SqliteLedger(path) as one, SqliteLedger(path) as other:
        client = opened(one, budget)
        for key, question, cost, first in history:
            ledger = one if first else other
            spent = sum(cost for _, cost in bought.values())
            try:
                settled = settle(ledger, client, key, cost, answer(question))
            except KeyReused:
                assert bought[key][0] != question
            except BudgetExhausted:
                assert key not in bought and spent + cost > budget
            else:
                assert settled.answer == answer(question)
                assert settled.replayed == (key in bought)
                bought.setdefault(key, (question, cost))
        assert known(other).spent == sum(cost for _, cost in bought.values()) <= budget
    check_invariants(path)


def test_many_writers_on_two_ledgers_spend_the_budget_exactly_once(path: Path) -> None:
    budget, keys = 400, [f"k{number}" for number in range(300)]
    with SqliteLedger(path) as one, SqliteLedger(path) as other:
        client = opened(one, budget)

        async def spend(ledger: SqliteLedger, seed: int) -> list[tuple[str, int, bool]]:
            random.Random(seed).shuffle(mine := list(keys))
            charged = []

            async def buy(key: str) -> None:
                cost = 1 + int(key[1:]) % 3
                try:
                    settled = await ledger.settle(client, key, cost, answer(key))
                except BudgetExhausted:
                    return
                assert settled.answer == answer(key)
                charged.append((key, cost, settled.replayed))

            await asyncio.gather(*map(buy, mine))
            return charged

        with ThreadPoolExecutor(4) as pool:
            work = [
                pool.submit(asyncio.run, spend(ledger, seed)) for seed, ledger in enumerate((one, other, one, other))
            ]
            outcomes = [outcome for future in work for outcome in future.result()]
        paid = [(key, cost) for key, cost, replayed in outcomes if not replayed]
        assert len({key for key, _ in paid}) == len(paid)
        assert sum(cost for _, cost in paid) == known(one).spent
        assert budget - 2 <= known(one).spent <= budget
    check_invariants(path)


def test_no_outcome_is_known_before_the_commit(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        client = opened(ledger)
        for number in range(10):
            settle(ledger, client, str(number), 1, answer("a"))
            with sqlite3.connect(path) as db:
                assert db.execute("SELECT spent FROM clients").fetchone() == (number + 1,)
            db.close()


def test_a_database_locked_for_too_long_is_unavailable_and_charges_nothing(path: Path) -> None:
    with SqliteLedger(path, busy_seconds=0.05) as ledger:
        client = opened(ledger)
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="ledger is busy"):
            settle(ledger, client, "k", 1, answer("a"))
        blocker.execute("ROLLBACK")
        blocker.close()
        assert settle(ledger, client, "k", 1, answer("a")).replayed is False
        assert known(ledger).spent == 1


def test_a_caller_that_gives_up_does_not_stop_the_writer(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        client = opened(ledger)

        async def give_up() -> None:
            task = asyncio.create_task(ledger.settle(client, "k", 1, answer("a")))
            await asyncio.sleep(0)
            task.cancel()

        asyncio.run(give_up())
        assert settle(ledger, client, "k", 1, answer("a")).replayed is True
        assert known(ledger).spent == 1


def test_names_are_unique_and_revoking_is_final(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        opened(ledger)
        with pytest.raises(InvalidConfig, match="named 'edge-1' already"):
            ledger.create(account(), b"other")
        ledger.revoke("edge-1", 5.0)
        ledger.revoke("edge-1", 9.0)
        assert known(ledger).revoked == 5.0
        with pytest.raises(InvalidConfig, match="no key named 'edge-9'"):
            ledger.revoke("edge-9", 5.0)


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    SqliteLedger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InvalidConfig, match="has schema 99, this program knows up to 1"):
        SqliteLedger(path)


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be read as one" * 50)
    with pytest.raises(InvalidConfig, match="cannot be used as a ledger"):
        SqliteLedger(tmp_path / "notes.txt")
    with pytest.raises(InvalidConfig, match=r"no ledger for 'mysql://'"):
        open_ledger("mysql://host/db")
    with pytest.raises(InvalidConfig, match="cannot be used as a ledger"):
        open_ledger(str(tmp_path))


def test_several_processes_may_open_a_new_ledger_at_once(path: Path) -> None:
    together = threading.Barrier(4)

    def open_together(_: int) -> None:
        together.wait()
        SqliteLedger(path).close()

    path.parent.mkdir()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_together, range(4)))
    check_invariants(path)


def test_no_secret_is_in_the_repr_of_a_client(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        assert repr(HASH) not in repr(opened(ledger))


SPENDER = """
import asyncio, sys
from pathlib import Path
from tests.server.test_ledger import SqliteLedger, answer, known

ledger = SqliteLedger(Path(sys.argv[1]))
client = known(ledger)

async def buy(key):
    await ledger.settle(client, key, 2, answer(key))
    print(key, flush=True)

async def spend():
    for group in range(10_000):
        await asyncio.gather(*(buy(f"{sys.argv[2]}-{group}-{number}") for number in range(5)))

asyncio.run(spend())
"""


def test_kill_minus_nine_under_load_loses_nothing_that_was_answered(path: Path) -> None:
    with SqliteLedger(path) as ledger:
        opened(ledger, budget=1_000_000)
    answered: list[str] = []
    for attempt in range(3):
        spenders = [start_spender(path, f"{attempt}{number}") for number in range(2)]
        for spender in spenders:
            assert spender.stdout is not None
            answered.append(spender.stdout.readline())
        time.sleep(0.05 + 0.03 * attempt)
        for spender in spenders:
            os.kill(spender.pid, signal.SIGKILL)
        for spender in spenders:
            out, _ = spender.communicate()
            answered += [line for line in out.splitlines(keepends=True) if line.endswith("\n")]
        check_invariants(path)
    assert len(answered) > 10
    with SqliteLedger(path) as ledger:
        client = known(ledger)
        for key in (line.strip() for line in answered):
            assert asyncio.run(ledger.answer(client, key)) == answer(key)
        assert not settle(ledger, client, "after", 1, answer("a")).replayed


def start_spender(path: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SPENDER, str(path), name], stdout=subprocess.PIPE, text=True)
