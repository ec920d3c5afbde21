"""What is inside a journal's file, and how a file of an older version becomes one of this version."""

import sqlite3
import uuid

APPLICATION_ID = 0x4D454B44  # "MEKD": tells our file from any other SQLite database
VERSION = 2

_SCHEMA = (
    "CREATE TABLE run (id TEXT NOT NULL)",
    "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE traffic (
        stage TEXT PRIMARY KEY, bytes_up INTEGER NOT NULL, bytes_down INTEGER NOT NULL,
        link_seconds REAL NOT NULL DEFAULT 0
    )""",
    """CREATE TABLE requests (
        stage TEXT NOT NULL, step INTEGER NOT NULL, key TEXT NOT NULL UNIQUE, output TEXT NOT NULL,
        shape TEXT NOT NULL, images BLOB NOT NULL, sent BLOB NOT NULL, answer BLOB,
        asked REAL NOT NULL, answered REAL, PRIMARY KEY (stage, step)
    )""",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)
_FROM_VERSION_1 = (
    "ALTER TABLE traffic ADD COLUMN link_seconds REAL NOT NULL DEFAULT 0",
    "PRAGMA user_version = 2",
)


def create(database: sqlite3.Connection) -> None:
    """Make an empty database a journal with a name of its own; to be called within a transaction."""
    for statement in _SCHEMA:
        database.execute(statement)
    database.execute("INSERT INTO run VALUES (?)", (str(uuid.uuid4()),))


def migrate(database: sqlite3.Connection) -> None:
    """Bring a journal of version 1 to this version; to be called within a transaction, so that all or nothing is."""
    for statement in _FROM_VERSION_1:
        database.execute(statement)
