"""`mekd-server ledger`: prove the books right, export them, prune old answers, bring an old ledger up to date."""

import csv
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table

from server.keys_cli import DEFAULT_LEDGER, SECONDS_PER_DAY, LedgerOption
from server.ledger import migrate as migrate_ledger
from server.ledger import open_ledger
from server.ledger.protocol import Books
from server.ledger.schema import VERSION

COLUMNS = ("name", "budget", "spent", "created", "cost")
BROKEN = 1  # exit code

app = typer.Typer(help="The books: budgets, charges and paid answers.", no_args_is_help=True)
console = Console(stderr=True)


@app.command()
def check(ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """Prove that the books are right, also while servers run; exit code 1 and the rows that are not, where not."""
    with open_ledger(ledger, create=False) as books:
        found = books.audit()
    console.print(
        f"{found.clients} keys, {found.requests} requests ({found.pruned} pruned); "
        f"{found.spent} images spent, {found.costs} by the sum of the requests."
    )
    if not found.faults:
        console.print("I1 to I5 hold.")
        return
    table = Table("invariant", "where", "what")
    for fault in found.faults:
        table.add_row(fault.invariant, fault.where, fault.what)
    Console().print(table)
    console.print(f"{len(found.faults)} faults. Stop the servers, and restore a backup that passes this check.")
    raise typer.Exit(BROKEN)


@app.command()
def export(
    out: Annotated[Path | None, typer.Option(help="File to write; default: stdout.")] = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Write the usage as CSV: a row for each paid request, and one without request for a key that has none."""
    with ExitStack() as stack:
        books = stack.enter_context(open_ledger(ledger, create=False))
        file = sys.stdout if out is None else stack.enter_context(out.open("w", newline=""))
        rows = _write_usage(books, file)
    console.print(f"{rows} requests.")


def _write_usage(books: Books, file: TextIO) -> int:
    writer, rows = csv.writer(file), 0
    writer.writerow(COLUMNS)
    for client in books.clients():
        account, after = (client.account.name, client.account.budget, client.spent), ""
        while page := books.charges(client, after):
            for charge in page:
                writer.writerow((*account, datetime.fromtimestamp(charge.created, UTC).isoformat(), charge.cost))
            rows, after = rows + len(page), page[-1].key
        if not after:
            writer.writerow((*account, "", ""))
    return rows


@app.command()
def prune(
    older_than_days: Annotated[float, typer.Option(min=0, help="Age from which on answers are dropped.")],
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Drop old answers, also while servers run. Their charges stay; asking for one again is answered by 410."""
    now = time.time()
    with open_ledger(ledger, create=False) as books:
        pruned = books.prune(now - older_than_days * SECONDS_PER_DAY, now)
    console.print(f"{pruned} answers older than {older_than_days:g} days pruned; what was charged stays charged.")


@app.command()
def migrate(ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """Bring a ledger of an earlier version of this program up to date. Stop its servers and back it up before."""
    before = migrate_ledger(ledger)
    if before == VERSION:
        console.print(f"The ledger has schema {VERSION} already; nothing was done.")
    else:
        console.print(f"The ledger had schema {before} and has schema {VERSION} now.")
