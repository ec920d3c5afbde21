"""What serving asks of the database: who is it, was it paid before, and the transaction that charges and stores."""

import time

from server.ledger.protocol import Account, Client, Settled, StoredAnswer
from server.ledger.session import Row, Session
from shared.errors import AnswerPruned

SELECT_CLIENT = (
    "SELECT id, name, budget, policy, images_per_minute, clients.expires, spent, revoked, key_hash, secrets.expires"
    " FROM clients JOIN secrets ON secrets.client_id = clients.id"
)
_SELECT_ANSWER = (
    "SELECT fingerprint, response, header_length, pruned FROM requests WHERE client_id = :client AND key = :key"
)
_INSERT_ANSWER = (
    "INSERT INTO requests (client_id, key, fingerprint, cost, response, header_length, created)"
    " VALUES (:client, :key, :fingerprint, :cost, :response, :header_length, :now) ON CONFLICT DO NOTHING RETURNING 1"
)
_CHARGE = "UPDATE clients SET spent = spent + :cost WHERE id = :client AND spent + :cost <= budget RETURNING spent"
_SELECT_PAYER = f"{SELECT_CLIENT} WHERE id = :client AND secrets.expires IS NULL"


def to_client(row: Row) -> Client:
    """A row of `SELECT_CLIENT`. A secret that was rotated away expires with its grace, if not before."""
    id_, name, budget, policy, images_per_minute, expires, spent, revoked, key_hash, secret_expires = row
    ends = [end for end in (expires, secret_expires) if end is not None]
    account = Account(name, budget, policy, images_per_minute, min(ends, default=None))
    return Client(id_, account, spent, revoked, key_hash)


def find_client(session: Session, key_hash: bytes) -> Client | None:
    """See `Ledger.client`."""
    rows = session.execute(f"{SELECT_CLIENT} WHERE key_hash = :key_hash", key_hash=key_hash)
    return to_client(rows[0]) if rows else None


def find_answer(session: Session, client: Client, key: str) -> StoredAnswer | None:
    """See `Ledger.answer`."""
    rows = session.execute(_SELECT_ANSWER, client=client.id, key=key)
    if not rows:
        return None
    fingerprint, response, header_length, pruned = rows[0]
    if pruned is not None:
        raise AnswerPruned(
            f"The answer that idempotency key '{key}' paid for was pruned here after its time. It is not charged "
            "again: use the copy that was kept when it came, or ask with a new key, which is charged."
        )
    return StoredAnswer(fingerprint, response, header_length)


def settle(session: Session, client: Client, key: str, cost: int, answer: StoredAnswer) -> Settled:
    """See `Ledger.settle`. Whatever it raises, the caller undoes what it did."""
    inserted = session.execute(
        _INSERT_ANSWER,
        client=client.id,
        key=key,
        fingerprint=answer.fingerprint,
        cost=cost,
        response=answer.body,
        header_length=answer.header_length,
        now=time.time(),
    )
    if not inserted:
        stored = find_answer(session, client, key)
        assert stored is not None
        stored.check(answer.fingerprint)
        return Settled(stored, replayed=True)
    if not session.execute(_CHARGE, client=client.id, cost=cost):
        raise to_client(session.execute(_SELECT_PAYER, client=client.id)[0]).exhausted(cost)
    return Settled(answer, replayed=False)
