"""What the server asks of a ledger, whatever database is behind it.

Five invariants hold at every moment, also after a crash and with several servers on one database:

I1. a client's `spent` is the sum of its requests' costs;
I2. `spent` never exceeds the budget;
I3. an idempotency key is charged at most once;
I4. a request is stored if, and only if, it was charged, and then it can be replayed until the operator prunes it;
I5. no answer leaves the server unpaid: `settle` returns after the commit.
"""

from dataclasses import dataclass, field
from typing import Protocol

from server.ledger.books import Audit, Charge
from shared.errors import BudgetExhausted, KeyReused

LARGEST_COUNT = 2**53  # of images; beyond it, readers of JSON disagree about whole numbers


@dataclass(frozen=True)
class Account:
    """What an operator decides about a key. `expires` is in seconds since 1970."""

    name: str
    budget: int
    policy: str
    images_per_minute: int
    expires: float | None = None


@dataclass(frozen=True)
class Client:
    """A key's account as it stood when it was read; all counts are images.

    `key_hash` is that of the secret it was found by. Found by one that was rotated away, `account.expires` is the
    end of that secret's grace, if the key does not expire before.
    """

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
            f"or have the operator raise the budget (`mekd-server keys top-up {self.account.name} --add IMAGES`).",
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
        """What this client bought under the idempotency `key`.

        Raises:
            AnswerPruned: it was bought, and pruned since.
        """
        ...

    async def settle(self, client: Client, key: str, cost: int, answer: StoredAnswer) -> Settled:
        """Charge `cost` images and store `answer`, both or neither; returns after the commit.

        Where the key was charged already, nothing is charged and the stored answer comes back instead.

        Raises:
            BudgetExhausted: the client cannot pay.
            KeyReused: the key was charged for another question.
            AnswerPruned: the key was charged, and its answer pruned since.
            Unavailable: the database is locked for too long, or away. The outcome may be unknown; the same again
                is safe.
        """
        ...

    async def check_writable(self) -> None:
        """Return if a charge could be committed now.

        Raises:
            Unavailable: it could not.
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

    def top_up(self, name: str, images: int) -> Client:
        """Raise the budget by `images`; the account as it stands then.

        Raises:
            InvalidConfig: no such name, or the budget would exceed `LARGEST_COUNT`.
        """
        ...

    def rotate(self, name: str, key_hash: bytes, now: float, grace_seconds: float) -> None:
        """Give the key a new secret. Those it had are known for `grace_seconds` from `now` on, then refused.

        Raises:
            InvalidConfig: no such name, or the key is revoked or expired.
        """
        ...

    def revoke(self, name: str, now: float) -> None:
        """Refuse the key, with all its secrets, from now on; its account stays on record.

        Raises:
            InvalidConfig: no such name.
        """
        ...

    def close(self) -> None:
        """Finish what is queued and close the database."""
        ...


class Books(Protocol):
    """What the `ledger` commands need. Blocking; safe while servers work on the same database."""

    def audit(self) -> Audit:
        """Look for every row that breaks an invariant."""
        ...

    def clients(self) -> list[Client]:
        """All accounts, by name."""
        ...

    def charges(self, client: Client, after: str) -> list[Charge]:
        """A page of the client's charges, by idempotency key, from the one following `after` on; empty at the end."""
        ...

    def prune(self, before: float, now: float) -> int:
        """Drop answers that were paid before `before`, in seconds since 1970; how many. Their charges stay."""
        ...
