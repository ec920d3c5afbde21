import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from edge.cli import app
from edge.report.summary import run_table
from edge.run_folder import RunFolder
from shared.errors import BudgetTooSmall, InvalidConfig, OutputNotAllowed
from tests.conftest import LiveServer
from tests.edge.small import TINY
from tests.fakes import LinearTeacher
from tests.foreign_oip_server import Dialect, ForeignServer


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(TINY)
    return path


def plan(url: str, key: str, *flags: object) -> Result:
    environment = {"MEKD_API_KEY": key, "MEKD_API_KEY_FILE": None, "COLUMNS": "250"}
    return CliRunner().invoke(app, ["plan", "--server", url, *map(str, flags)], env=environment)


def cells(shown: str, row: str) -> list[str]:
    """What a table's row says."""
    (line,) = [line for line in shown.splitlines() if re.match(rf"\W*{row}\b", line)]
    return [cell.strip() for cell in re.split("[│┃]", line) if cell.strip()][1:]


def test_a_plan_says_what_the_run_will_take_and_pays_nothing(live_server: LiveServer, small: Path) -> None:
    key = live_server.make_key(name="edge-1", budget=2500)
    shown = plan(live_server.url, key, "--preset", "paper", "--link", "3g", "--price-per-1000", 1.5, "--no-timing")
    assert shown.exit_code == 0 and shown.stdout == ""
    assert cells(shown.stderr, "deprivatization")[:2] == ["200", "2"]
    assert cells(shown.stderr, "distillation")[:2] == ["1,800", "8"]
    queries, requests, up, down, rate, link, minutes, cost = cells(shown.stderr, "in all")
    assert (queries, requests, rate, minutes, cost) == ("2,000", "10", "0.0", "unknown", "3.00")
    assert int(up.replace(",", "")) > 2000 * 64 and int(down.replace(",", "")) > 2000 * 40 and float(link) > 0
    assert "Key 'edge-1' has 2,500 of 2,500 queries left: enough." in shown.stderr
    assert "200 of the answers will be held out" in shown.stderr and "was not timed" in shown.stderr
    assert live_server.teacher.batches == [] and live_server.spent(key) == 0


def test_for_a_program_a_plan_is_one_document(live_server: LiveServer, small: Path) -> None:
    key = live_server.make_key(name="edge-1", budget=200)
    shown = plan(live_server.url, key, "--config", small, "--json")
    assert shown.stderr == ""
    document = json.loads(shown.stdout)
    assert list(document["stages"]) == ["deprivatization", "distillation"]
    assert (document["total"]["queries"], document["held_out"], document["total"]["cost"]) == (100, 10, None)
    assert document["total"]["seconds"] > 0
    assert (document["key"]["client"], document["key"]["remaining"]) == ("edge-1", 200)
    assert live_server.teacher.batches == []


def test_a_key_that_cannot_pay_is_said_with_the_number_after_the_table(live_server: LiveServer, small: Path) -> None:
    shown = plan(live_server.url, live_server.make_key(name="poor", budget=99), "--config", small, "--no-timing")
    assert cells(shown.stderr, "in all")[0] == "100" and "99 of 99 queries left: not enough" in shown.stderr
    assert isinstance(shown.exception, BudgetTooSmall) and shown.exception.exit_code == 5
    assert "needs 100 queries, key 'poor' has 99 of 99 left" in str(shown.exception)


def test_for_a_program_a_key_that_cannot_pay_is_told_in_the_plans_one_document(
    live_server: LiveServer, small: Path
) -> None:
    key = live_server.make_key(name="poor", budget=99)
    shown = plan(live_server.url, key, "--config", small, "--no-timing", "--json")
    document = json.loads(shown.stdout)
    assert (document["total"]["queries"], document["error"]) == (100, "budget-too-small")
    assert document["exit_code"] == shown.exit_code == 5 and document["message"] in shown.stderr


def test_a_slow_key_is_said_to_take_minutes(live_server: LiveServer) -> None:
    key = live_server.make_key(images_per_minute=600)
    shown = plan(live_server.url, key, "--response", "top1", "--no-timing")
    assert float(cells(shown.stderr, "in all")[4]) == pytest.approx(3.3, abs=0.2)
    assert "At 600 images per minute 10 requests will be sent away" in shown.stderr


@pytest.mark.parametrize(
    ("policy", "flags", "error"),
    [("top1", [], OutputNotAllowed), ("logits", ["--link", "5g"], InvalidConfig)],
)
def test_what_no_run_can_do_is_refused_as_by_the_run(
    live_server: LiveServer, policy: str, flags: list[str], error: type[Exception]
) -> None:
    shown = plan(live_server.url, live_server.make_key(policy=policy), "--no-timing", *flags)
    assert isinstance(shown.exception, error) and shown.stdout == ""


def test_of_a_server_without_a_meter_it_is_said_what_cannot_be_known() -> None:
    with ForeignServer(LinearTeacher().logits, Dialect()) as server:
        flags = ["--model", server.dialect.model, "--teacher-output", "fc7=logits", "--link", "lan", "--no-timing"]
        shown = plan(server.url, "", *flags)
        assert server.questions == []
    assert shown.exit_code == 0
    assert cells(shown.stderr, "in all") == ["2,000", "9", *["unknown"] * 5]
    assert "The server has no meter" in shown.stderr and "How many bytes cannot be known" in shown.stderr


def test_the_runs_table_shows_the_prediction_beside_what_happened(
    live_server: LiveServer, small: Path, tmp_path: Path
) -> None:
    key, out = live_server.make_key(budget=100), tmp_path / "run"
    flags = ["--server", live_server.url, "--config", str(small), "--link", "3g", "--out", str(out)]
    assert CliRunner().invoke(app, ["distill", *flags], env={"MEKD_API_KEY": key}).exit_code == 0
    results: dict[str, Any] = RunFolder(out).results()
    console = Console(file=io.StringIO(), width=120)
    console.print(run_table(results))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    total = results["prediction"]["total"]
    up = f"{total['bytes_up']:,}"
    assert cells(shown, "bytes up") == [up, up]
    assert cells(shown, "queries, distillation") == ["90", "90"]
    assert cells(shown, "seconds on the link 3g")[1] == f"{total['link_seconds']:,.1f}"
    seconds = results["prediction"]["stages"]["distillation"]["seconds"]
    assert cells(shown, "seconds, distillation")[1] == f"{seconds:.1f}"
    del results["prediction"]
    console.print(run_table(results))
    assert cells(console.file.getvalue()[len(shown) :], "bytes up") == [up]
