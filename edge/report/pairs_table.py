"""Stored pairs as one table for the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from edge.transfer_set.stored_pairs import StoredPairs


def described(path: Path, pairs: StoredPairs) -> dict[str, Any]:
    """What the transfer file at `path` holds."""
    facts = {"file": str(path), "output": pairs.kind.output, "dataset": pairs.kind.dataset, "pairs": len(pairs)}
    return facts | {"stages": pairs.queries(), "digest": pairs.digest()}


def pairs_table(title: str, facts: Mapping[str, Any]) -> Table:
    """Facts by name; those of a mapping in a row each."""
    table = Table("", title=title)
    table.add_column("value", justify="right", overflow="fold")
    for name, value in facts.items():
        rows = value.items() if isinstance(value, Mapping) else [("", value)]
        for below, shown in rows:
            text = f"{shown:,}" if isinstance(shown, int) else escape(shown)
            table.add_row(f"{name}, {escape(below)}" if below else name, text)
    return table
