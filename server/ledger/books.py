"""What an auditor does with a ledger: prove the invariants, list what was spent, prune old answers."""

from dataclasses import dataclass

from server.ledger.session import Session

PAGE = 1000

# One statement, hence one snapshot: a server that charges meanwhile cannot make a sound ledger look broken.
_FAULTS = """
    WITH sums AS (SELECT client_id, CAST(sum(cost) AS BIGINT) AS costs FROM requests GROUP BY client_id),
    accounts AS (SELECT id, name, budget, spent, coalesce(costs, 0) AS costs FROM clients
                 LEFT JOIN sums ON client_id = id)
    SELECT 'I1', 'key ' || name, 'spent ' || spent || ', costs of its requests ' || costs
        FROM accounts WHERE spent <> costs
    UNION ALL
    SELECT 'I2', 'key ' || name, 'spent ' || spent || ' of a budget of ' || budget
        FROM accounts WHERE spent > budget OR spent < 0
    UNION ALL
    SELECT 'I3', 'client ' || client_id || ' request ' || key, 'charged ' || count(*) || ' times'
        FROM requests GROUP BY client_id, key HAVING count(*) > 1
    UNION ALL
    SELECT 'I4', 'client ' || client_id || ' request ' || key, 'neither an answer to replay nor pruned'
        FROM requests WHERE response IS NULL AND pruned IS NULL
    UNION ALL
    SELECT 'I5', 'client ' || client_id || ' request ' || key, 'an answer that nobody paid, cost ' || cost
        FROM requests WHERE cost <= 0 OR client_id NOT IN (SELECT id FROM clients)
    ORDER BY 1, 2
"""
_TOTALS = """
    SELECT (SELECT count(*) FROM clients), (SELECT count(*) FROM requests),
        (SELECT count(*) FROM requests WHERE pruned IS NOT NULL),
        (SELECT CAST(coalesce(sum(spent), 0) AS BIGINT) FROM clients),
        (SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM requests)
"""
_CHARGES = (
    "SELECT key, created, cost FROM requests WHERE client_id = :client AND key > :after ORDER BY key LIMIT :page"
)
_PRUNE = (
    "UPDATE requests SET response = NULL, header_length = NULL, pruned = :now WHERE (client_id, key) IN"
    " (SELECT client_id, key FROM requests WHERE created < :before AND pruned IS NULL LIMIT :page) RETURNING 1"
)


@dataclass(frozen=True)
class Fault:
    """A row that breaks an invariant, I1 to I5 as `server.ledger.protocol` numbers them."""

    invariant: str
    where: str
    what: str


@dataclass(frozen=True)
class Audit:
    """What a ledger holds, and what is wrong with it; `spent` and `costs` are images."""

    clients: int
    requests: int
    pruned: int
    spent: int
    costs: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Charge:
    """One paid request: when, in seconds since 1970, and how many images."""

    key: str
    created: float
    cost: int


def audit(session: Session) -> Audit:
    """See `Books.audit`. The totals are read after the faults and may be of a moment later."""
    faults = tuple(Fault(*row) for row in session.execute(_FAULTS))
    clients, requests, pruned, spent, costs = session.execute(_TOTALS)[0]
    return Audit(clients, requests, pruned, spent, costs, faults)


def charges(session: Session, client_id: int, after: str) -> list[Charge]:
    """The client's next charges in the order of their idempotency keys, at most `PAGE`."""
    return [Charge(*row) for row in session.execute(_CHARGES, client=client_id, after=after, page=PAGE)]


def prune(session: Session, before: float, now: float) -> int:
    """Drop up to `PAGE` answers from before `before`, and say how many; their charges stay."""
    return len(session.execute(_PRUNE, before=before, now=now, page=PAGE))
