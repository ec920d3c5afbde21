"""`database`: an empty one, and each test that asks for it runs on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.ledger.databases import (
    Database,
    PostgresDatabase,
    SqliteDatabase,
    new_postgres_database,
    new_postgres_schema,
)
from tests.server.ledger.postgres import running_postgres

NewDatabase = Callable[[], Database]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with running_postgres(durable=False) as url:
        yield url


@pytest.fixture
def postgres(postgres_server: str) -> PostgresDatabase:
    return new_postgres_database(postgres_server)


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(tmp_path / "deep" / "ledger.sqlite")


@pytest.fixture(params=["sqlite", "postgres"])
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    if request.param == "sqlite":
        return lambda: SqliteDatabase(tmp_path_factory.mktemp("ledger") / "ledger.sqlite")
    server_url: str = request.getfixturevalue("postgres_server")
    return lambda: new_postgres_schema(server_url)


@pytest.fixture
def database(new_database: NewDatabase) -> Database:
    return new_database()
