"""`mekd-server keys` beyond making and listing: top up, rotate, revoke."""

import asyncio
import stat
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.auth import authenticate
from server.cli import app
from server.ledger import open_ledger
from server.ledger.protocol import LARGEST_COUNT, Client
from shared.errors import InvalidConfig, Unauthorized

runner = CliRunner()
HOUR = 3600


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def keys(ledger: Path, *arguments: str | Path) -> Result:
    result = runner.invoke(app, ["keys", *map(str, arguments), "--ledger", str(ledger)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def create(ledger: Path) -> str:
    return keys(ledger, "create", "--name", "edge-1", "--budget", "100").stdout.strip()


def let_in(ledger: Path, key: str, now: float) -> Client | None:
    """Whom the server would take the bearer of `key` for at `now`."""
    with open_ledger(str(ledger)) as opened:
        try:
            return asyncio.run(authenticate(opened, f"Bearer {key}", now))
        except Unauthorized:
            return None


def test_a_top_up_raises_the_budget_and_says_what_remains(ledger: Path) -> None:
    key = create(ledger)
    assert "150 images, 0 spent, 150 remaining" in keys(ledger, "top-up", "edge-1", "--add", "50").stderr
    client = let_in(ledger, key, time.time())
    assert client is not None and client.account.budget == 150


@pytest.mark.parametrize("add", ["0", "-5", "half", str(LARGEST_COUNT + 1)])
def test_a_top_up_by_nothing_or_nonsense_is_refused(ledger: Path, add: str) -> None:
    create(ledger)
    result = runner.invoke(app, ["keys", "top-up", "edge-1", f"--add={add}", "--ledger", str(ledger)])
    assert result.exit_code == 2


def test_a_top_up_beyond_the_largest_budget_is_refused(ledger: Path) -> None:
    create(ledger)
    with pytest.raises(InvalidConfig, match="would exceed the largest"):
        keys(ledger, "top-up", "edge-1", "--add", str(LARGEST_COUNT))


def test_rotation_shows_the_new_secret_once_and_ends_the_old_one_at_once(ledger: Path) -> None:
    old = create(ledger)
    result = keys(ledger, "rotate", "edge-1")
    new = result.stdout.strip()
    assert new.startswith("mekd_") and new != old
    assert new not in result.stderr and old not in result.stderr
    assert let_in(ledger, old, time.time()) is None
    client = let_in(ledger, new, time.time())
    assert client is not None and client.account.name == "edge-1"
    assert new.encode() not in b"".join(path.read_bytes() for path in ledger.parent.iterdir())


def test_with_a_grace_the_old_secret_works_for_so_long(ledger: Path) -> None:
    old = create(ledger)
    new = keys(ledger, "rotate", "edge-1", "--grace-hours", "2").stdout.strip()
    now = time.time()
    assert let_in(ledger, old, now + 1.9 * HOUR) is not None
    assert let_in(ledger, old, now + 2.1 * HOUR) is None
    assert let_in(ledger, new, now + 2.1 * HOUR) is not None


def test_a_rotated_key_may_go_into_its_file(ledger: Path, tmp_path: Path) -> None:
    create(ledger)
    file = tmp_path / "secrets" / "key"
    assert keys(ledger, "rotate", "edge-1", "--key-file", file).stdout == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert let_in(ledger, file.read_text().strip(), time.time()) is not None


def test_a_rotated_key_whose_file_cannot_be_written_is_shown_because_the_old_one_has_ended(
    ledger: Path, tmp_path: Path
) -> None:
    old = create(ledger)
    (tmp_path / "file").touch()
    arguments = ["keys", "rotate", "edge-1", "--key-file", tmp_path / "file" / "key", "--ledger", ledger]
    result = runner.invoke(app, list(map(str, arguments)))
    assert isinstance(result.exception, OSError)
    assert let_in(ledger, old, time.time()) is None
    assert let_in(ledger, result.stdout.strip(), time.time()) is not None


@pytest.mark.parametrize(
    "command", [["list"], ["revoke", "edge-1"], ["rotate", "edge-1"], ["top-up", "edge-1", "--add", "1"]]
)
def test_a_ledger_that_is_not_there_is_said_and_not_made(ledger: Path, command: list[str]) -> None:
    with pytest.raises(InvalidConfig, match="ledger"):
        keys(ledger, *command)
    assert not ledger.exists()


def test_a_key_that_would_outlive_the_calendar_is_refused(ledger: Path) -> None:
    arguments = ["keys", "create", "--name=e", "--budget=1", "--expires-days=3000000", "--ledger", str(ledger)]
    assert runner.invoke(app, arguments).exit_code == 2
    assert not ledger.exists()


def test_a_revoked_key_is_let_in_with_none_of_its_secrets_and_cannot_be_rotated(ledger: Path) -> None:
    old = create(ledger)
    new = keys(ledger, "rotate", "edge-1", "--grace-hours", "2").stdout.strip()
    keys(ledger, "revoke", "edge-1")
    assert let_in(ledger, old, time.time()) is None and let_in(ledger, new, time.time()) is None
    with pytest.raises(InvalidConfig, match="revoked or expired"):
        keys(ledger, "rotate", "edge-1")


def test_a_list_has_one_row_for_a_rotated_key(ledger: Path) -> None:
    create(ledger)
    keys(ledger, "rotate", "edge-1", "--grace-hours", "2")
    assert keys(ledger, "list").stdout.count("edge-1") == 1
