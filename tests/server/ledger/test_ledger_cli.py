"""`mekd-server ledger`, on both databases, while a server has them open."""

import csv
import io
import shlex
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from shared.errors import AnswerPruned, InvalidConfig
from tests.server.ledger.asking import account, answer, known, opened, replay, settle
from tests.server.ledger.databases import Database
from tests.server.ledger.version_1 import write_version_1
from tests.server.processes import run_cli

runner = CliRunner()


def ledger(database: Database, *arguments: str) -> Result:
    return runner.invoke(app, ["ledger", *arguments, "--ledger", database.url], catch_exceptions=False)


def test_check_says_that_sound_books_are_sound(database: Database) -> None:
    with database.open() as serving:
        settle(serving, opened(serving), "a", 30, answer("a"))
        result = ledger(database, "check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 keys, 1 requests (0 pruned); 30 images spent, 30 by the sum of the requests." in result.stderr
    assert "I1 to I5 hold." in result.stderr


def test_check_shows_the_rows_that_are_wrong_and_fails(database: Database) -> None:
    with database.open() as serving:
        settle(serving, opened(serving), "a", 30, answer("a"))
    database.sql("UPDATE clients SET spent = 31")
    result = ledger(database, "check")
    assert result.exit_code == 1
    assert all(words in result.stdout for words in ("I1", "key edge-1", "spent 31, costs of its requests 30"))
    assert "1 faults" in result.stderr


def test_export_has_a_row_for_each_charge_and_for_a_key_without(database: Database) -> None:
    with database.open() as serving:
        client = opened(serving)
        serving.create(account("edge-2", 7), b"other")
        settle(serving, client, "a", 10, answer("a"))
        settle(serving, client, "b", 20, answer("b"))
        result = ledger(database, "export")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["name"], row["budget"], row["spent"], row["cost"]) for row in rows] == [
        ("edge-1", "100", "30", "10"),
        ("edge-1", "100", "30", "20"),
        ("edge-2", "7", "0", ""),
    ]
    assert abs(datetime.fromisoformat(rows[0]["created"]) - datetime.now(UTC)).total_seconds() < 60
    assert rows[2]["created"] == ""
    assert "2 requests." in result.stderr


def test_export_goes_into_a_file(database: Database, tmp_path: Path) -> None:
    with database.open() as serving:
        settle(serving, opened(serving), "a", 10, answer("a"))
    result = ledger(database, "export", "--out", str(tmp_path / "usage.csv"))
    assert result.stdout == ""
    assert [row["cost"] for row in csv.DictReader((tmp_path / "usage.csv").read_text().splitlines())] == ["10"]


def test_prune_drops_old_answers_of_a_serving_ledger_and_the_books_stay_right(database: Database) -> None:
    with database.open() as serving:
        client = opened(serving)
        for key in ("old", "new"):
            settle(serving, client, key, 10, answer(key))
        three_days_ago = time.time() - 3 * 86_400
        database.sql(f"UPDATE requests SET created = {three_days_ago} WHERE key = 'old'")
        result = ledger(database, "prune", "--older-than-days", "2")
        assert "1 answers older than 2 days pruned" in result.stderr
        with pytest.raises(AnswerPruned):
            replay(serving, client, "old")
        assert replay(serving, client, "new") == answer("new")
        assert known(serving).spent == 20
    assert "2 requests (1 pruned); 20 images spent, 20 by" in ledger(database, "check").stderr


def test_migrate_leaves_a_ledger_of_this_version_alone(database: Database) -> None:
    database.open().close()
    assert "has schema 2 already; nothing was done" in ledger(database, "migrate").stderr


@pytest.mark.parametrize("command", [["check"], ["export"], ["prune", "--older-than-days=1"], ["migrate"]])
def test_no_command_makes_a_ledger_where_there_is_none(database: Database, command: list[str]) -> None:
    with pytest.raises(InvalidConfig, match="no ledger"):
        ledger(database, *command)


def test_an_earlier_ledger_is_served_after_the_very_command_that_its_refusal_names(tmp_path: Path) -> None:
    write_version_1(path := tmp_path / "old ledger.sqlite")
    refused = run_cli("keys", "list", "--ledger", path)
    assert refused.returncode == 2
    program, *arguments = shlex.split(refused.stderr.partition("run: ")[2])
    assert program == "mekd-server"
    migrated = run_cli(*arguments)
    assert (migrated.returncode, migrated.stderr) == (0, "The ledger had schema 1 and has schema 2 now.\n")
    assert "edge-2" in run_cli("keys", "list", "--ledger", path).stdout
    assert run_cli("ledger", "check", "--ledger", path).returncode == 0
