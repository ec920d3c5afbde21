"""The budget ledger: who may spend how much, what was spent, and every answer that was paid for."""

from pathlib import Path

from server.ledger.database import DatabaseLedger
from server.ledger.schema import VERSION
from server.ledger.sqlite import SqliteLedger, migrate_sqlite
from shared.errors import InvalidConfig

SQLITE = "sqlite:///"
POSTGRES = ("postgresql://", "postgres://")


def open_ledger(url: str, *, create: bool = True) -> DatabaseLedger:
    """Open, or `create`, the ledger at `sqlite:///PATH`, a plain path, or `postgresql://USER@HOST/DATABASE`.

    Raises:
        InvalidConfig: another kind of URL, not a ledger of ours, or none there.
    """
    if url.startswith(POSTGRES):
        try:
            from server.ledger.postgres import PostgresLedger
        except ImportError as error:
            raise InvalidConfig(
                f"A PostgreSQL ledger needs its driver ({error}). Install it: pip install '.[server,postgres]'."
            ) from None
        return PostgresLedger(url, create=create)
    return SqliteLedger(_path(url), create=create)


def migrate(url: str) -> int:
    """Bring a ledger of an earlier version to this program's schema; the version it had.

    Raises:
        InvalidConfig: no ledger there, one of a newer version, or one in use.
    """
    if url.startswith(POSTGRES):
        with open_ledger(url, create=False):  # there are none of an earlier version
            return VERSION
    return migrate_sqlite(_path(url))


def _path(url: str) -> Path:
    if "://" in url and not url.startswith(SQLITE):
        raise InvalidConfig(
            f"There is no ledger for '{url.partition('://')[0]}://'. "
            "Give sqlite:///PATH, a path, or postgresql://USER@HOST/DATABASE."
        )
    return Path(url.removeprefix(SQLITE))
