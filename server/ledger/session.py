"""The one thing that the two databases have to look alike in: run a statement, get its rows.

Every statement of the ledger is written once, with `:named` values, and run by both. What is said here about
transactions holds for both: an `Operation` runs inside one, or, where it only reads, needs none.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

Value = int | float | str | bytes | None
Row = tuple[Any, ...]
Failpoint = Callable[[str], None]


class Session(Protocol):
    """One connection to the database."""

    def execute(self, statement: str, /, **values: Value) -> list[Row]:
        """Run one statement with its `:named` values; its rows, none for a statement that has none."""
        ...


Result = TypeVar("Result")
Operation = Callable[[Session], Result]


def no_failpoint(statement: str) -> None:
    """What a ledger does between two statements: nothing. Tests pass something that raises, or kills the process."""
