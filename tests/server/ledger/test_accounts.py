"""What operators do with keys, on both databases."""

import asyncio

import pytest

from server.ledger.protocol import LARGEST_COUNT
from shared.errors import BudgetExhausted, InvalidConfig
from tests.server.ledger.asking import HASH, account, answer, known, opened, settle
from tests.server.ledger.databases import Database, check_invariants

NOW = 1000.0


def test_names_are_unique_and_revoking_is_final(database: Database) -> None:
    with database.open() as ledger:
        opened(ledger)
        with pytest.raises(InvalidConfig, match="named 'edge-1' already"):
            ledger.create(account(), b"other")
        ledger.revoke("edge-1", 5.0)
        ledger.revoke("edge-1", 9.0)
        assert known(ledger).revoked == 5.0


def test_keys_are_listed_by_name_once_each_whatever_was_rotated(database: Database) -> None:
    with database.open() as ledger:
        for name in "cab":
            ledger.create(account(name), name.encode())
        ledger.rotate("a", b"a2", NOW, 60)
        ledger.rotate("a", b"a3", NOW, 60)
        assert [(c.account.name, c.key_hash) for c in ledger.clients()] == [("a", b"a3"), ("b", b"b"), ("c", b"c")]


def test_what_names_no_key_is_refused(database: Database) -> None:
    with database.open() as ledger:
        with pytest.raises(InvalidConfig, match="no key named 'edge-9'"):
            ledger.revoke("edge-9", NOW)
        with pytest.raises(InvalidConfig, match="no key named 'edge-9'"):
            ledger.top_up("edge-9", 5)
        with pytest.raises(InvalidConfig, match="no key named 'edge-9'"):
            ledger.rotate("edge-9", b"new", NOW, 0)


def test_a_top_up_lets_an_exhausted_key_go_on(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger, budget=10)
        settle(ledger, client, "a", 10, answer("a"))
        with pytest.raises(BudgetExhausted):
            settle(ledger, client, "b", 5, answer("b"))
        topped_up = ledger.top_up("edge-1", 5)
        assert (topped_up.account.budget, topped_up.spent, topped_up.remaining) == (15, 10, 5)
        settle(ledger, client, "b", 5, answer("b"))
        assert known(ledger).remaining == 0
    check_invariants(database)


def test_a_budget_that_json_could_not_carry_is_refused(database: Database) -> None:
    with database.open() as ledger:
        opened(ledger, budget=10)
        with pytest.raises(InvalidConfig, match=f"budget of 10 images; {LARGEST_COUNT - 9} more would exceed"):
            ledger.top_up("edge-1", LARGEST_COUNT - 9)
        assert ledger.top_up("edge-1", LARGEST_COUNT - 10).account.budget == LARGEST_COUNT


def test_a_rotated_key_is_the_same_account_and_its_old_secret_ends_with_the_grace(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        settle(ledger, client, "k", 30, answer("a"))
        ledger.rotate("edge-1", b"new", NOW, 60)
        new, old = known(ledger, b"new"), known(ledger, HASH)
        assert (new.id, new.spent, new.key_hash, new.account.expires) == (client.id, 30, b"new", None)
        assert (old.id, old.spent, old.key_hash, old.account.expires) == (client.id, 30, HASH, NOW + 60)
        assert old.active(NOW + 59) and not old.active(NOW + 60) and new.active(NOW + 60)
        assert settle(ledger, new, "k", 30, answer("a")).replayed
    check_invariants(database)


def test_a_rotation_without_grace_ends_all_old_secrets_at_once(database: Database) -> None:
    with database.open() as ledger:
        opened(ledger)
        ledger.rotate("edge-1", b"second", NOW, 3600)
        ledger.rotate("edge-1", b"third", NOW + 1, 0)
        assert [known(ledger, key).active(NOW + 1) for key in (HASH, b"second", b"third")] == [False, False, True]


def test_a_later_rotation_does_not_lengthen_an_earlier_grace(database: Database) -> None:
    with database.open() as ledger:
        opened(ledger)
        ledger.rotate("edge-1", b"second", NOW, 10)
        ledger.rotate("edge-1", b"third", NOW, 3600)
        assert known(ledger, HASH).account.expires == NOW + 10


def test_a_grace_never_outlives_the_key(database: Database) -> None:
    with database.open() as ledger:
        opened(ledger)
        ledger.rotate("edge-1", b"new", NOW, 60)
        ledger.revoke("edge-1", NOW + 1)
        assert not known(ledger, HASH).active(NOW + 2) and not known(ledger, b"new").active(NOW + 2)
        with pytest.raises(InvalidConfig, match="revoked or expired, and so would be its new secret"):
            ledger.rotate("edge-1", b"newer", NOW + 3, 60)
        assert asyncio.run(ledger.client(b"newer")) is None
