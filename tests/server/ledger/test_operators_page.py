"""The operator's page is true: its commands are run here word for word, backup and restore while a ledger serves."""

import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

import server.cli
from server.cli import app
from server.ledger.database import DatabaseLedger
from server.ledger.sqlite import SqliteLedger
from tests.server.ledger.asking import answer, known, opened, replay, settle
from tests.server.ledger.databases import Database, PostgresDatabase, SqliteDatabase, check_invariants
from tests.server.ledger.postgres import programs

PAGE = (Path(server.cli.__file__).parent / "README.md").read_text()
ENOUGH = 20  # charges before, and again after the backup


def commands(heading: str) -> list[str]:
    """The shell blocks under a heading of the page: to back up, and to restore."""
    section = re.split(r"^#+ ", PAGE.partition(f"### {heading}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)


def test_the_books_are_kept_by_the_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    SqliteLedger(tmp_path / "data/ledger.sqlite").close()
    shown = re.findall(r"^mekd-server (ledger .*?) +#", PAGE, flags=re.MULTILINE)
    assert [line.split()[1] for line in shown] == ["check", "export", "prune", "migrate"]
    for line in shown:
        result = CliRunner().invoke(app, shlex.split(line), catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "usage.csv").read_text().startswith("name,budget,spent,created,cost")


def run(block: str, folder: Path, **variables: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), str(programs() / "bin"), os.environ["PATH"]])
    code = subprocess.run(["sh", "-eu", "-c", block], cwd=folder, env={**os.environ, "PATH": path, **variables})
    assert code.returncode == 0


@contextmanager
def serving(ledger: DatabaseLedger) -> Iterator[Callable[[], list[str]]]:
    """Charge without pause; what is yielded waits for `ENOUGH` more charges and returns the keys paid so far."""
    client, paid, stop = known(ledger), list[str](), threading.Event()

    def charge() -> None:
        while not stop.is_set():
            key = str(len(paid))
            settle(ledger, client, key, 2, answer(key))
            paid.append(key)

    def more() -> list[str]:
        target = len(paid) + ENOUGH
        while len(paid) < target:
            assert not stop.wait(0.002)
        return list(paid)

    thread = threading.Thread(target=charge)
    thread.start()
    try:
        yield more
    finally:
        stop.set()
        thread.join()


def check_restored(database: Database, before: list[str], after: list[str]) -> None:
    """All that was paid before the backup is there, and nothing that was not paid by its end; it goes on serving."""
    check_invariants(database)
    with database.open(create=False) as ledger:
        client = known(ledger)
        assert len(before) <= client.spent // 2 <= len(after) + 1
        assert all(replay(ledger, client, key) == answer(key) for key in before)
        assert not settle(ledger, client, "after the restore", 2, answer("a")).replayed
        assert ledger.audit().faults == ()


def test_a_sqlite_ledger_is_backed_up_while_it_serves_and_restored(tmp_path: Path) -> None:
    back_up, restore = commands("SQLite")
    database = SqliteDatabase(tmp_path / "data/ledger.sqlite")
    with database.open() as ledger:
        opened(ledger, budget=100_000)
        with serving(ledger) as more:
            before = more()
            run(back_up, tmp_path)
            after = more()
    database.path.write_bytes(b"ruined" * 1000)
    run(restore, tmp_path)
    check_restored(database, before, after)


def test_a_postgres_ledger_is_backed_up_while_it_serves_and_restored(
    postgres: PostgresDatabase, tmp_path: Path
) -> None:
    back_up, restore = commands("PostgreSQL")
    restored = PostgresDatabase(re.sub(r"/ledger_\d+\?", "/restored?", postgres.url))
    with postgres.open() as ledger:
        opened(ledger, budget=100_000)
        with serving(ledger) as more:
            before = more()
            run(back_up, tmp_path, LEDGER=postgres.url)
            after = more()
    run(restore, tmp_path, LEDGER=postgres.url, RESTORED=restored.url)
    check_restored(restored, before, after)


def test_a_backup_of_nothing_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(AssertionError):
        run(commands("SQLite")[0], tmp_path)
