"""What is on its way in this process: a few requests for each client, one at a time for each idempotency key."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from server.ledger.protocol import Client
from shared.errors import RateLimited, RequestInFlight


class InFlight:
    """Bounds requests by client, and lets a duplicate wait for the first request with its idempotency key.

    Servers that share a ledger do not see each other's: there the ledger decides which duplicate is charged.
    """

    def __init__(self, *, per_client: int, wait_seconds: float) -> None:
        self._per_client, self._wait_seconds = per_client, wait_seconds
        self._clients: Counter[int] = Counter()
        self._locks: dict[tuple[int, str], asyncio.Lock] = {}
        self._users: Counter[tuple[int, str]] = Counter()

    @property
    def requests(self) -> int:
        """Requests that were accepted and not answered yet."""
        return self._clients.total()

    @contextmanager
    def place(self, client: Client) -> Iterator[None]:
        """Count a request of `client` while entered.

        Raises:
            RateLimited: so many are in flight already.
        """
        if self._clients[client.id] >= self._per_client:
            raise RateLimited(
                f"Key '{client.account.name}' has {self._per_client} requests in flight, as many as it may. "
                "Send the same again when one of them is answered.",
                retry_after=1,
            )
        self._clients[client.id] += 1
        try:
            yield
        finally:
            self._clients[client.id] -= 1
            if not self._clients[client.id]:
                del self._clients[client.id]

    @asynccontextmanager
    async def alone(self, client: Client, key: str) -> AsyncIterator[None]:
        """Wait until no other request of `client` with the idempotency `key` is inside.

        Raises:
            RequestInFlight: the wait took too long.
        """
        whose = (client.id, key)
        lock = self._locks.setdefault(whose, asyncio.Lock())
        self._users[whose] += 1
        try:
            await self._acquire(lock)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._users[whose] -= 1
            if not self._users[whose]:
                del self._users[whose], self._locks[whose]

    async def _acquire(self, lock: asyncio.Lock) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await lock.acquire()
        except TimeoutError:
            raise RequestInFlight(
                f"A request with this idempotency key is still being answered after {self._wait_seconds:g} seconds. "
                "Send the same again.",
                retry_after=1,
            ) from None
