"""kill -9 at random moments, 100 times, under 16 clients with duplicates: two servers on SQLite, two on PostgreSQL.

    python -m tests.benchmarks.soak_kill                       # both, a quarter of an hour on two cores
    python -m tests.benchmarks.soak_kill --kills 10 --clients 4

PostgreSQL runs with fsync, as an operator's would. Exit code 1 if anything is wrong.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

from tests.server.ledger.databases import Database, SqliteDatabase, new_postgres_database
from tests.server.ledger.killing import Found, kill_under_load
from tests.server.ledger.postgres import running_postgres


@contextmanager
def fresh(kind: str) -> Iterator[Database]:
    if kind == "postgresql":
        with running_postgres(durable=True) as url:
            yield new_postgres_database(url)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield SqliteDatabase(Path(folder) / "ledger.sqlite")


def show(runs: dict[str, Found]) -> None:
    print(f"{'':20}" + "".join(f"{kind:>12}" for kind in runs))  # noqa: T201 - the result
    for field in fields(Found):
        values = "".join(f"{getattr(found, field.name):12.0f}" for found in runs.values())
        print(f"{field.name.replace('_', ' '):20}{values}")  # noqa: T201


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    options = parser.parse_args()
    runs = {}
    for kind in [options.only] if options.only else ["sqlite", "postgresql"]:
        with fresh(kind) as database:
            runs[kind] = kill_under_load(database, kills=options.kills, clients=options.clients, seed=options.seed)
    show(runs)
    sys.exit(not all(found.sound for found in runs.values()))


if __name__ == "__main__":
    main()
