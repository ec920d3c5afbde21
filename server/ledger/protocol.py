"""What the server asks of a ledger, whatever database is behind it.

Five invariants hold at every moment, also after a crash and with several servers on one database:

1. a client's `spent` is the sum of its requests' costs;
2. `spent` never exceeds the budget;
3. an idempotency key is charged at most once;
4. a request is stored if, and only if, it was charged, and then it can be replayed;
5. no answer leaves the server unpaid: `settle` returns after the commit.
"""

from dataclasses import dataclass, field
from typing import Protocol

from shared.errors import BudgetExhausted, KeyReused


@dataclass(frozen=True)
class Account:
    """What an operator decides when making a key. `expires` is in seconds since 1970."""

    name: str
    budget: int
    policy: str
    images_per_minute: int
    expires: float | None = None


@dataclass(frozen=True)
class Client:
    """A key's account as it stood when it was read; all counts are images."""

    id: int
    account: Account
    spent: int
    revoked: float | None
    key_hash: bytes = field(repr=False)

    @property
    def remaining(self) -> int:
        """Images that the key can still pay for."""
        return self.account.budget - self.spent

    def active(self, now: float) -> bool:
        """Neither revoked nor expired at `now`, in seconds since 1970."""
        return self.revoked is None and (self.account.expires is None or now < self.account.expires)

    def exhausted(self, requested: int) -> BudgetExhausted:
        """The refusal of a request for more images than remain."""
        return BudgetExhausted(
            f"Budget exhausted: {self.spent} of {self.account.budget} images used by key '{self.account.name}', "
            f"{self.remaining} remaining, {requested} requested. Ask about at most {self.remaining} images, "
            "or have the operator make a key with a larger budget (`mekd-server keys create`).",
            remaining=self.remaining,
            requested=requested,
        )


@dataclass(frozen=True)
class StoredAnswer:
    """An answer that was paid for: the bytes to send, and what was asked, as a digest of the request."""

    fingerprint: bytes
    body: bytes = field(repr=False)
    header_length: int | None

    def check(self, fingerprint: bytes) -> None:
        """Refuse to replay this answer to another question.

        Raises:
            KeyReused: the idempotency key already bought the answer to another request.
        """
        if fingerprint != self.fingerprint:
            raise KeyReused(
                "This idempotency key already bought the answer to another request (other path, header length or "
                "body). Send a new key with a new question; nothing was charged."
            )


@dataclass(frozen=True)
class Settled:
    """Outcome of `settle`: the answer to send, and whether another request had paid for it before."""

    answer: StoredAnswer
    replayed: bool


class Ledger(Protocol):
    """The serving path. Everything may be called from several tasks at once."""

    async def client(self, key_hash: bytes) -> Client | None:
        """The account of the key with this SHA-256, active or not."""
        ...

    async def answer(self, client: Client, key: str) -> StoredAnswer | None:
        """What this client bought under the idempotency `key`."""
        ...

    async def settle(self, client: Client, key: str, cost: int, answer: StoredAnswer) -> Settled:
        """Charge `cost` images and store `answer`, both or neither; returns after the commit.

        Where the key was charged already, nothing is charged and the stored answer comes back instead.

        Raises:
            BudgetExhausted: the client cannot pay.
            KeyReused: the key was charged for another question.
            Unavailable: another process keeps the database locked.
        """
        ...


class KeyDesk(Protocol):
    """What the `keys` commands need. Blocking."""

    def create(self, account: Account, key_hash: bytes) -> None:
        """Open an account.

        Raises:
            InvalidConfig: the name is taken.
        """
        ...

    def clients(self) -> list[Client]:
        """All accounts, by name."""
        ...

    def revoke(self, name: str, now: float) -> None:
        """Refuse the key from now on; its account stays on record.

        Raises:
            InvalidConfig: no such name.
        """
        ...

    def close(self) -> None:
        """Finish what is queued and close the database."""
        ...
