"""The budget ledger: who may spend how much, what was spent, and every answer that was paid for."""

from pathlib import Path

from server.ledger.sqlite import SqliteLedger
from shared.errors import InvalidConfig

SQLITE = "sqlite:///"


def open_ledger(url: str) -> SqliteLedger:
    """Open, or make, the ledger at `sqlite:///PATH` or a plain path.

    Raises:
        InvalidConfig: another kind of URL, or not a ledger of ours.
    """
    if "://" in url and not url.startswith(SQLITE):
        raise InvalidConfig(f"There is no ledger for '{url.partition('://')[0]}://'. Give sqlite:///PATH, or a path.")
    return SqliteLedger(Path(url.removeprefix(SQLITE)))
