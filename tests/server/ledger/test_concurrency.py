"""Many writers, also several ledgers on one database, and callers that wait, give up or find it locked."""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.ledger.database import DatabaseLedger
from shared.errors import BudgetExhausted
from tests.server.ledger.asking import answer, known, opened, settle
from tests.server.ledger.databases import Database, check_invariants


def test_many_writers_on_two_ledgers_spend_the_budget_exactly_once(database: Database) -> None:
    budget, keys = 400, [f"k{number}" for number in range(300)]
    with database.open() as one, database.open() as other:
        client = opened(one, budget)

        async def spend(ledger: DatabaseLedger, seed: int) -> list[tuple[str, int, bool]]:
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
    check_invariants(database)


def test_no_outcome_is_known_before_the_commit(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)
        for number in range(10):
            settle(ledger, client, str(number), 1, answer("a"))
            assert database.sql("SELECT spent FROM clients") == [(number + 1,)]


def test_a_caller_that_gives_up_does_not_stop_the_ledger(database: Database) -> None:
    with database.open() as ledger:
        client = opened(ledger)

        async def give_up() -> None:
            task = asyncio.create_task(ledger.settle(client, "k", 1, answer("a")))
            await asyncio.sleep(0)
            task.cancel()

        asyncio.run(give_up())
        settle(ledger, client, "k", 1, answer("a"))
        assert known(ledger).spent == 1


def test_a_top_up_between_charges_is_neither_lost_nor_spent_twice(database: Database) -> None:
    with database.open() as one, database.open() as other:
        client = opened(one, budget=1)

        async def buy(number: int) -> bool:
            try:
                await one.settle(client, str(number), 1, answer("a"))
            except BudgetExhausted:
                return False
            return True

        async def buy_all() -> list[bool]:
            return await asyncio.gather(*map(buy, range(60)))

        topping_up = threading.Thread(target=lambda: [other.top_up("edge-1", 1) for _ in range(20)])
        topping_up.start()
        bought = sum(asyncio.run(buy_all()))
        topping_up.join()
        now = known(other)
        assert (now.account.budget, now.spent) == (21, bought)
    check_invariants(database)


@pytest.mark.parametrize("ledgers", [4])
def test_several_servers_may_open_a_new_ledger_at_once(database: Database, ledgers: int) -> None:
    together = threading.Barrier(ledgers)

    def open_together(_: int) -> None:
        together.wait()
        database.open().close()

    with ThreadPoolExecutor(ledgers) as pool:
        list(pool.map(open_together, range(ledgers)))
    check_invariants(database)
