"""API keys: how they are made, kept and recognised. Only a SHA-256 is kept; the key itself is shown once."""

import hashlib
import secrets
from hmac import compare_digest

from server.ledger.protocol import Account, Client, Ledger
from shared.errors import Unauthorized

PREFIX = "mekd_"

_NOBODY = Client(0, Account("", 0, "top1", 1), spent=0, revoked=0.0, key_hash=bytes(32))


def new_key() -> str:
    """A fresh key with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def key_hash(key: str) -> bytes:
    """What is kept of a key. It has too much entropy to be guessed, so that a slow hash would gain nothing."""
    return hashlib.sha256(key.encode()).digest()


async def authenticate(ledger: Ledger, authorization: str | None, now: float) -> Client:
    """The client whose key the `Authorization` header bears; `now` is in seconds since 1970.

    Raises:
        Unauthorized: no key, or an unknown, revoked or expired one. One text for all, so that nobody learns which.
    """
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        presented = key_hash(key.strip())
        client = await ledger.client(presented) or _NOBODY  # an unknown key takes the same steps as a revoked one
        known, active = compare_digest(client.key_hash, presented), client.active(now)
        if known & active:
            return client
    raise Unauthorized(
        "The API key is missing, unknown, revoked or expired. Send 'Authorization: Bearer <key>' "
        "with a key that the operator made by `mekd-server keys create`."
    )
