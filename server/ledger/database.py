"""A ledger over any database that can run an operation in a transaction: all that is the same for both."""

import asyncio
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Self

from server.ledger import accounts, books, charging
from server.ledger.books import Audit, Charge
from server.ledger.protocol import Account, Client, Settled, StoredAnswer
from server.ledger.session import Operation, Result, Session


class DatabaseLedger(ABC):
    """Implements `Ledger`, `KeyDesk` and `Books`. To be closed, or used as a context manager."""

    @abstractmethod
    def _write(self, operation: Operation[Result]) -> "Future[Result]":
        """Run in a transaction of its own, or as if; the future is done after the commit, or the undoing."""

    @abstractmethod
    def _read(self, operation: Operation[Result]) -> "Future[Result]":
        """Run where every statement sees what is committed."""

    @abstractmethod
    def close(self) -> None:
        """See `KeyDesk.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def client(self, key_hash: bytes) -> Client | None:
        """See `Ledger.client`."""
        return await asyncio.wrap_future(self._read(lambda db: charging.find_client(db, key_hash)))

    async def answer(self, client: Client, key: str) -> StoredAnswer | None:
        """See `Ledger.answer`."""
        return await asyncio.wrap_future(self._read(lambda db: charging.find_answer(db, client, key)))

    async def settle(self, client: Client, key: str, cost: int, answer: StoredAnswer) -> Settled:
        """See `Ledger.settle`."""
        return await asyncio.wrap_future(self._write(lambda db: charging.settle(db, client, key, cost, answer)))

    async def check_writable(self) -> None:
        """See `Ledger.check_writable`."""
        await asyncio.wrap_future(self._write(_touch))

    def create(self, account: Account, key_hash: bytes) -> None:
        """See `KeyDesk.create`."""
        self._write(lambda db: accounts.create(db, account, key_hash)).result()

    def clients(self) -> list[Client]:
        """See `KeyDesk.clients`."""
        return self._read(accounts.clients).result()

    def top_up(self, name: str, images: int) -> Client:
        """See `KeyDesk.top_up`."""
        return self._write(lambda db: accounts.top_up(db, name, images)).result()

    def rotate(self, name: str, key_hash: bytes, now: float, grace_seconds: float) -> None:
        """See `KeyDesk.rotate`."""
        self._write(lambda db: accounts.rotate(db, name, key_hash, now, grace_seconds)).result()

    def revoke(self, name: str, now: float) -> None:
        """See `KeyDesk.revoke`."""
        self._write(lambda db: accounts.revoke(db, name, now)).result()

    def audit(self) -> Audit:
        """See `Books.audit`."""
        return self._read(books.audit).result()

    def charges(self, client: Client, after: str) -> list[Charge]:
        """See `Books.charges`."""
        return self._read(lambda db: books.charges(db, client.id, after)).result()

    def prune(self, before: float, now: float) -> int:
        """See `Books.prune`. Goes in small transactions, between which servers get their turn."""
        pruned = 0
        while page := self._write(lambda db: books.prune(db, before, now)).result():
            pruned += page
        return pruned


def _touch(session: Session) -> None:
    """Writes no row, but needs the lock of one who does."""
    session.execute("UPDATE clients SET spent = spent WHERE id = -1")
