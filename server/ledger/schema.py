"""The tables, for both databases, and how a ledger of an earlier version becomes one of this.

Version 1 kept one secret per key, in `clients`, and every answer for ever. Version 2 has secrets of their own, so
that a key can be rotated, and answers that were pruned. Only SQLite ledgers of version 1 exist.
"""

VERSION = 2

_TABLES = (
    """
    CREATE TABLE clients (
        id {identity},
        name TEXT NOT NULL UNIQUE,
        budget {integer} NOT NULL,
        spent {integer} NOT NULL DEFAULT 0 CHECK (0 <= spent AND spent <= budget),
        policy TEXT NOT NULL,
        images_per_minute {integer} NOT NULL CHECK (images_per_minute > 0),
        expires {real},
        revoked {real}
    ) {strict}
    """,
    # `expires` is set by a rotation only: every client has one secret without it, and that one is the present one.
    """
    CREATE TABLE secrets (
        key_hash {blob} PRIMARY KEY,
        client_id {integer} NOT NULL REFERENCES clients (id),
        expires {real}
    ) {strict}
    """,
    "CREATE UNIQUE INDEX present_secret ON secrets (client_id) WHERE expires IS NULL",
    """
    CREATE TABLE requests (
        client_id {integer} NOT NULL REFERENCES clients (id),
        key TEXT NOT NULL,
        fingerprint {blob} NOT NULL,
        cost {integer} NOT NULL CHECK (cost > 0),
        response {blob},
        header_length {integer},
        created {real} NOT NULL,
        pruned {real},
        PRIMARY KEY (client_id, key),
        CHECK ((response IS NULL) = (pruned IS NOT NULL))
    ) {strict}
    """,
    "CREATE INDEX unpruned_requests ON requests (created) WHERE pruned IS NULL",
)

_SQLITE = {
    "identity": "INTEGER PRIMARY KEY",
    "integer": "INTEGER",
    "real": "REAL",
    "blob": "BLOB",
    "strict": "STRICT",
}
_POSTGRES = {
    "identity": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "integer": "BIGINT",
    "real": "DOUBLE PRECISION",
    "blob": "BYTEA",
    "strict": "",
}
POSTGRES_TABLES = (
    *(table.format(**_POSTGRES) for table in _TABLES),
    f"CREATE TABLE ledger_schema AS SELECT {VERSION} AS version",
)
SQLITE_TABLES = (*(table.format(**_SQLITE) for table in _TABLES), f"PRAGMA user_version = {VERSION}")

# From version 1: set the old tables aside, make the new ones, copy, drop. In one transaction, with foreign keys off.
SQLITE_UPGRADE = (
    "ALTER TABLE requests RENAME TO requests_1",
    "ALTER TABLE clients RENAME TO clients_1",
    *SQLITE_TABLES,
    "INSERT INTO clients (id, name, budget, spent, policy, images_per_minute, expires, revoked)"
    " SELECT id, name, budget, spent, policy, images_per_minute, expires, revoked FROM clients_1",
    "INSERT INTO secrets (key_hash, client_id) SELECT key_hash, id FROM clients_1",
    "INSERT INTO requests (client_id, key, fingerprint, cost, response, header_length, created)"
    " SELECT client_id, key, fingerprint, cost, response, header_length, created FROM requests_1",
    "DROP TABLE requests_1",
    "DROP TABLE clients_1",
)
