"""A ledger file as the first version of this program wrote it: one secret per key, nothing pruned."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.server.ledger.asking import HASH, answer

_TABLES = """
    CREATE TABLE clients (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        key_hash BLOB NOT NULL UNIQUE,
        budget INTEGER NOT NULL,
        spent INTEGER NOT NULL DEFAULT 0 CHECK (0 <= spent AND spent <= budget),
        policy TEXT NOT NULL,
        images_per_minute INTEGER NOT NULL CHECK (images_per_minute > 0),
        expires REAL,
        revoked REAL
    ) STRICT;
    CREATE TABLE requests (
        client_id INTEGER NOT NULL REFERENCES clients (id),
        key TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        cost INTEGER NOT NULL CHECK (cost > 0),
        response BLOB NOT NULL,
        header_length INTEGER,
        created REAL NOT NULL,
        PRIMARY KEY (client_id, key)
    ) STRICT;
    PRAGMA user_version = 1;
"""


def write_version_1(path: Path) -> None:
    """Two keys, the second revoked; the first, of `HASH`, paid 30 of 100 images for the answers "a" and "b"."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(_TABLES)
        db.execute("INSERT INTO clients VALUES (1, 'edge-1', ?, 100, 30, 'top1', 60, 9e9, NULL)", (HASH,))
        db.execute("INSERT INTO clients VALUES (7, 'edge-2', x'02', 5, 0, 'logits', 60, NULL, 8.5)")
        for key, cost in (("a", 10), ("b", 20)):
            stored = answer(key)
            values = (key, stored.fingerprint, cost, stored.body, stored.header_length)
            db.execute("INSERT INTO requests VALUES (1, ?, ?, ?, ?, ?, 5.0)", values)
