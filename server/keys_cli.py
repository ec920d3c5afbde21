"""`mekd-server keys`: make, list, top up, rotate and revoke the keys of those who may ask.

A key is shown once and never kept.
"""

import re
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from server.auth import key_hash, new_key
from server.disclosure import POLICIES, parse_policy
from server.key_file import write_key
from server.ledger import open_ledger
from server.ledger.protocol import LARGEST_COUNT, Account, Client
from shared.errors import InvalidConfig

SECONDS_PER_DAY, SECONDS_PER_HOUR = 86_400, 3600
MOST_DAYS = 36_500
"""A hundred years; dates end with the year 9999."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

app = typer.Typer(help="Keys of those who may ask.", no_args_is_help=True)
console = Console(stderr=True)

KeyFileOption = Annotated[Path | None, typer.Option(help="Write the key here (mode 0600), not to stdout.")]
NameArgument = Annotated[str, typer.Argument(help="Name of the key.")]
LedgerOption = Annotated[
    str,
    typer.Option(
        "--ledger", envvar="MEKD_SERVER_LEDGER", help="Path, sqlite:/// or postgresql:// URL of the ledger."
    ),
]
DEFAULT_LEDGER = "sqlite:///data/ledger.sqlite"


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Name of the key, for lists and messages.")],
    budget: Annotated[int, typer.Option(min=1, max=LARGEST_COUNT, help="Images that it may ask about in all.")],
    policy: Annotated[str, typer.Option(help=f"What it may see, one of the forms {', '.join(POLICIES)}.")] = "logits",
    images_per_minute: Annotated[int, typer.Option(min=1, max=LARGEST_COUNT, help="How fast it may ask.")] = 60_000,
    expires_days: Annotated[
        float | None, typer.Option(min=0, max=MOST_DAYS, help="Days until it expires; default: never.")
    ] = None,
    key_file: KeyFileOption = None,
    if_missing: Annotated[bool, typer.Option("--if-missing", help="Do nothing where the name is taken.")] = False,
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Make a key with a budget. The key goes to stdout, alone and this once, or into --key-file."""
    if not NAME.fullmatch(name):
        raise InvalidConfig("A name is 1 to 64 letters, digits, '.', '_' and '-', and starts with a letter or digit.")
    parse_policy(policy)
    expires = None if expires_days is None else time.time() + expires_days * SECONDS_PER_DAY
    account = Account(name, budget, policy, images_per_minute, expires)
    with open_ledger(ledger) as desk:
        if any(client.account.name == name for client in desk.clients()):
            _keep(name, key_file, if_missing)
            return
        key = new_key()
        if key_file is not None:  # before the account: a crash in between leaves a file that the next run replaces
            write_key(key_file, key)
        desk.create(account, key_hash(key))
    console.print(f"Key '{name}': {budget} images, policy {policy}, {images_per_minute} images per minute.")
    _hand_out(key, key_file)


def _hand_out(key: str, key_file: Path | None) -> None:
    if key_file is None:
        print(key)  # noqa: T201 - for scripts to read
    else:
        console.print(f"Written to {key_file}.")


def _keep(name: str, key_file: Path | None, if_missing: bool) -> None:
    if not if_missing:
        raise InvalidConfig(f"There is a key named '{name}' already. Choose another name.")
    if key_file is not None and not key_file.exists():
        raise InvalidConfig(
            f"There is a key named '{name}' already, but not its file {key_file}, and a key is shown only once. "
            "Put the file back, or make a key with another name."
        )
    console.print(f"There is a key named '{name}' already; nothing was made.")


@app.command("list")
def list_(ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """List the keys' accounts; the keys themselves are not known any more."""
    table = Table("name", "budget", "spent", "remaining", "policy", "images/min", "state")
    with open_ledger(ledger, create=False) as desk:
        for client in desk.clients():
            account = client.account
            counts = (account.budget, client.spent, client.remaining)
            row = (account.name, *map(str, counts), account.policy, str(account.images_per_minute), _state(client))
            table.add_row(*row)
    Console().print(table)


def _state(client: Client) -> str:
    if client.revoked is not None:
        return "revoked"
    return "active" if client.active(time.time()) else "expired"


@app.command()
def top_up(
    name: NameArgument,
    add: Annotated[int, typer.Option(min=1, max=LARGEST_COUNT, help="Images to add to the budget.")],
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Raise a key's budget. Servers that run honour it from the next question on."""
    with open_ledger(ledger, create=False) as desk:
        client = desk.top_up(name, add)
    console.print(
        f"Key '{name}': {client.account.budget} images, {client.spent} spent, {client.remaining} remaining."
    )


@app.command()
def rotate(
    name: NameArgument,
    grace_hours: Annotated[float, typer.Option(min=0, help="How long the old secret still works.")] = 0,
    key_file: KeyFileOption = None,
    ledger: LedgerOption = DEFAULT_LEDGER,
) -> None:
    """Give a key a new secret; budget, spending and paid answers stay. It goes where `create` puts it."""
    key = new_key()
    with open_ledger(ledger, create=False) as desk:
        desk.rotate(name, key_hash(key), time.time(), grace_hours * SECONDS_PER_HOUR)
    if key_file is not None:
        try:
            write_key(key_file, key)
        except OSError:
            print(key)  # noqa: T201 - the old one has ended, and this one can be shown only now
            raise
    console.print(f"Key '{name}' has a new secret; the old one works for {grace_hours:g} hours more.")
    _hand_out(key, key_file)


@app.command()
def revoke(name: NameArgument, ledger: LedgerOption = DEFAULT_LEDGER) -> None:
    """Refuse a key, with all its secrets, from now on. What it bought stays on record."""
    with open_ledger(ledger, create=False) as desk:
        desk.revoke(name, time.time())
    console.print(f"Key '{name}' is revoked.")
