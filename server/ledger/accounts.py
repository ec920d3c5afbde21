"""What the operator does with keys: make, list, top up, rotate, revoke. Each runs in one transaction."""

from server.ledger.charging import SELECT_CLIENT, to_client
from server.ledger.protocol import LARGEST_COUNT, Account, Client
from server.ledger.session import Session
from shared.errors import InvalidConfig

_SELECT_PRESENT = f"{SELECT_CLIENT} WHERE secrets.expires IS NULL"
_INSERT_ACCOUNT = (
    "INSERT INTO clients (name, budget, policy, images_per_minute, expires)"
    " VALUES (:name, :budget, :policy, :images_per_minute, :expires) ON CONFLICT (name) DO NOTHING RETURNING id"
)
_INSERT_KEY_HASH = "INSERT INTO secrets (key_hash, client_id) VALUES (:key_hash, :client)"
_RETIRE_SECRETS = (
    "UPDATE secrets SET expires = :until WHERE client_id = :client AND (expires IS NULL OR expires > :until)"
)


def create(session: Session, account: Account, key_hash: bytes) -> None:
    """See `KeyDesk.create`."""
    inserted = session.execute(
        _INSERT_ACCOUNT,
        name=account.name,
        budget=account.budget,
        policy=account.policy,
        images_per_minute=account.images_per_minute,
        expires=account.expires,
    )
    if not inserted:
        raise InvalidConfig(f"There is a key named '{account.name}' already. Choose another name.")
    session.execute(_INSERT_KEY_HASH, key_hash=key_hash, client=inserted[0][0])


def clients(session: Session) -> list[Client]:
    """See `KeyDesk.clients`."""
    return [to_client(row) for row in session.execute(f"{_SELECT_PRESENT} ORDER BY name")]


def top_up(session: Session, name: str, images: int) -> Client:
    """See `KeyDesk.top_up`."""
    update = "UPDATE clients SET budget = budget + :images WHERE name = :name AND budget <= :most RETURNING 1"
    if not session.execute(update, name=name, images=images, most=LARGEST_COUNT - images):
        budget = _named(session, name).account.budget
        raise InvalidConfig(
            f"Key '{name}' has a budget of {budget} images; {images} more would exceed the largest, {LARGEST_COUNT}. "
            "Add less."
        )
    return _named(session, name)


def rotate(session: Session, name: str, key_hash: bytes, now: float, grace_seconds: float) -> None:
    """See `KeyDesk.rotate`."""
    session.execute("UPDATE clients SET spent = spent WHERE name = :name", name=name)  # keeps other operators waiting
    client = _named(session, name)
    if not client.active(now):
        raise InvalidConfig(
            f"Key '{name}' is revoked or expired, and so would be its new secret. "
            "Make another key (`mekd-server keys create`)."
        )
    session.execute(_RETIRE_SECRETS, client=client.id, until=now + grace_seconds)
    session.execute(_INSERT_KEY_HASH, key_hash=key_hash, client=client.id)


def revoke(session: Session, name: str, now: float) -> None:
    """See `KeyDesk.revoke`."""
    update = "UPDATE clients SET revoked = coalesce(revoked, :now) WHERE name = :name RETURNING 1"
    if not session.execute(update, name=name, now=now):
        _named(session, name)


def _named(session: Session, name: str) -> Client:
    rows = session.execute(f"{_SELECT_PRESENT} AND name = :name", name=name)
    if not rows:
        raise InvalidConfig(f"There is no key named '{name}'. `mekd-server keys list` shows all.")
    return to_client(rows[0])
