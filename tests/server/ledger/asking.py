"""Short ways to use a ledger from a test."""

import asyncio
import hashlib

from server.ledger.database import DatabaseLedger
from server.ledger.protocol import Account, Client, Settled, StoredAnswer

HASH = hashlib.sha256(b"key").digest()


def account(name: str = "edge-1", budget: int = 100) -> Account:
    return Account(name, budget, "logits", 60_000)


def opened(ledger: DatabaseLedger, budget: int = 100) -> Client:
    ledger.create(account(budget=budget), HASH)
    return known(ledger)


def known(ledger: DatabaseLedger, key_hash: bytes = HASH) -> Client:
    client = asyncio.run(ledger.client(key_hash))
    assert client is not None
    return client


def answer(text: str) -> StoredAnswer:
    return StoredAnswer(hashlib.sha256(text.encode()).digest(), text.encode() * 3, None)


def settle(ledger: DatabaseLedger, client: Client, key: str, cost: int, stored: StoredAnswer) -> Settled:
    return asyncio.run(ledger.settle(client, key, cost, stored))


def replay(ledger: DatabaseLedger, client: Client, key: str) -> StoredAnswer | None:
    return asyncio.run(ledger.answer(client, key))
