import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli import app
from shared.errors import InvalidConfig
from tests.edge.leaderboard.sweep_rows import document, sweep, written


def test_the_command_writes_three_files_from_all_rows(tmp_path: Path) -> None:
    first = written(tmp_path / "a.jsonl", sweep())
    second = written(tmp_path / "b.jsonl", [document(method="mine", seed=seed) for seed in range(3)])
    out = tmp_path / "board"
    arguments = ["leaderboard", "--rows", first, "--rows", second, "--against", "mine", "--out", out, "--json"]
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {kind: str(out / f"leaderboard.{kind}") for kind in ("html", "csv", "tex")}
    assert sorted(path.name for path in out.iterdir()) == ["leaderboard.csv", "leaderboard.html", "leaderboard.tex"]
    assert "Against mine, paired by seed" in (out / "leaderboard.html").read_text()


def test_bad_rows_leave_the_files_of_an_earlier_leaderboard_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "leaderboard.html").write_text("earlier")
    bad = written(tmp_path / "bad.jsonl", [document(accuracy=2)])
    with pytest.raises(InvalidConfig, match=r"bad\.jsonl, line 1, "):
        CliRunner().invoke(app, ["leaderboard", "--rows", str(bad), "--out", str(tmp_path)], catch_exceptions=False)
    assert (tmp_path / "leaderboard.html").read_text() == "earlier"
    assert not (tmp_path / "leaderboard.csv").exists()
