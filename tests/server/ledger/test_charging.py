"""The invariants of `server.ledger.protocol`, one question after another, on both databases."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.ledger.protocol import Settled, StoredAnswer
from shared.errors import BudgetExhausted, KeyReused
from tests.server.ledger.asking import HASH, account, answer, known, opened, replay, settle
from tests.server.ledger.conftest import NewDatabase
from tests.server.ledger.databases import Database, check_invariants


def test_a_charge_is_stored_and_replayed_with_the_same_bytes(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        assert settle(ledger, client, "k", 30, answer("a")) == Settled(answer("a"), replayed=False)
        assert replay(ledger, client, "k") == answer("a")
        assert settle(ledger, client, "k", 30, answer("a")) == Settled(answer("a"), replayed=True)
        assert known(ledger).spent == 30
    check_invariants(database)


def test_a_lost_race_replays_what_the_winner_stored(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        winner, loser = StoredAnswer(b"same question", b"one", 3), StoredAnswer(b"same question", b"other", 3)
        settle(ledger, client, "k", 1, winner)
        assert settle(ledger, client, "k", 1, loser) == Settled(winner, replayed=True)


def test_a_key_reused_for_another_question_is_refused_and_not_charged(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        settle(ledger, client, "k", 30, answer("a"))
        with pytest.raises(KeyReused, match="nothing was charged"):
            settle(ledger, client, "k", 30, answer("b"))
        assert known(ledger).spent == 30


def test_a_charge_beyond_the_budget_is_refused_whole(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        settle(ledger, client, "k", 98, answer("a"))
        words = r"98 of 100 images used by key 'edge-1', 2 remaining, 3 requested.*keys top-up edge-1 --add"
        with pytest.raises(BudgetExhausted, match=words) as e:
            settle(ledger, client, "m", 3, answer("b"))
        assert e.value.members == {"remaining": 2, "requested": 3}
        assert replay(ledger, client, "m") is None
        settle(ledger, client, "n", 2, answer("c"))
        assert known(ledger).remaining == 0
    check_invariants(database)


def test_the_same_idempotency_key_of_two_clients_is_two_keys(database: Database) -> None:
    with database.open() as ledger:
        first = opened(ledger)
        ledger.create(account("edge-2"), b"other")
        second = known(ledger, b"other")
        settle(ledger, first, "k", 1, answer("a"))
        assert not settle(ledger, second, "k", 1, answer("b")).replayed


steps = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["q", "r"]), st.integers(1, 40), st.booleans()), max_size=25
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(0, 120))
def test_any_history_over_two_ledgers_is_what_a_plain_model_says(
    new_database: NewDatabase, history: list[tuple[str, str, int, bool]], budget: int
) -> None:
    database, bought = new_database(), dict[str, tuple[str, int]]()
    with database.open() as one, database.open() as other:
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
    check_invariants(database)


def test_a_ledger_that_can_charge_says_so(database: Database) -> None:
    with database.open() as ledger:
        asyncio.run(ledger.check_writable())


def test_no_secret_is_in_the_repr_of_a_client(database: Database) -> None:
    with database.open() as ledger:
        assert repr(HASH) not in repr(opened(ledger))
