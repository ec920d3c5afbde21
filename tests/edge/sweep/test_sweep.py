"""Whole sweeps, with real processes against a real server: what is paid, what fails, what is made again."""

import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow.parquet import read_table
from pydantic import SecretStr
from rich.console import Console

from edge.asking.client import TeacherClient
from edge.config import merge
from edge.leaderboard.rows import read_rows
from edge.run import run
from edge.run_folder import RunFolder
from edge.sweep.display import SweepDisplay
from edge.sweep.grid import Cell, config_of
from edge.sweep.measuring import measured
from edge.sweep.place import key_name
from edge.sweep.results import Rows
from edge.sweep.sweep import check_keys, plan_sweep, served
from edge.training import Watcher
from edge.transfer_set.journal import Journal
from server.keys_cli import NAME
from shared.errors import BudgetTooSmall, InvalidCheckpoint, InvalidConfig, RunMismatch
from shared.protocol import LOGITS
from tests.conftest import LiveServer, Serve
from tests.edge.small import whole_digits
from tests.edge.sweep.small_sweep import CONFIG, TEST_IMAGES, made, settings_of, sweep_of
from tests.end_to_end.edge_process import EdgeProcess
from tests.fakes import LinearTeacher


def test_a_sweep_pays_once_for_what_its_cells_share_and_measures_every_student(
    live_server: LiveServer, tmp_path: Path
) -> None:
    key, evaluation_key = live_server.make_key(budget=1000), live_server.make_key(budget=TEST_IMAGES)
    balanced = {"preset": "lq", "distillation": {"drawn_share": 0.4}}
    methods = ["pool", "kd", "dkd", "balanced"]
    sweep = sweep_of(methods=methods, responses=["soft", "top1"], variants={"balanced": balanced})
    said = made(sweep, tmp_path, live_server, key, evaluation_key)
    rows = Rows(tmp_path).read()
    assert len(rows) == 4 * 4 - 2 and all(row["status"] == "ok" for row in rows.values())
    asking = {name for name, row in rows.items() if row["paid"]}
    assert asking == {"digits/resnet8/" + name for name in (
        "pool-soft-80-0", "kd-soft-80-0",
        "balanced-soft-80-0", "balanced-soft-40-0", "balanced-top1-80-0", "balanced-top1-40-0",
    )}  # fmt: skip
    assert live_server.spent(key) == sum(row["paid"] for row in rows.values()) == 4 * 80 + 2 * 40
    assert live_server.spent(evaluation_key) == TEST_IMAGES
    for name, row in rows.items():
        assert row["queries"] == row["budget"] == sum(row["queries_by_stage"].values()), name
        assert 0 <= row["accuracy"] <= 1 and 0 <= row["fidelity"] <= 1 and row["kl_nats"] > 0, name
        assert 0 <= row["calibration_error"] <= 1 and row["test_images"] == TEST_IMAGES, name
        assert row["sends"] == ("real" if row["method"] in ("kd", "dkd") else "synthetic"), name
        assert row["bytes_up"] > 64 * row["queries"] and row["bytes_down"] > 0, name
        assert row["teacher"] == rows["digits/resnet8/pool-soft-80-0"]["teacher"] != "unknown", name
        assert {"torch", "commit"} <= row["software"].keys() and row["hardware"], name
        assert row["teacher_accuracy"] == rows["digits/resnet8/pool-soft-80-0"]["teacher_accuracy"], name
    assert {row.track for row in read_rows([Rows(tmp_path).path])} == {"A"}  # what a leaderboard reads
    classes, logits = (rows[f"digits/resnet8/pool-{response}-40-0"] for response in ("top1", "soft"))
    assert classes["bytes_down"] < logits["bytes_down"]
    assert f"{rows['digits/resnet8/pool-soft-80-0']['accuracy']:.2%}, 80 queries, 80 paid" in said


def test_what_is_made_is_not_made_again_and_a_larger_grid_makes_what_is_new(
    live_server: LiveServer, tmp_path: Path
) -> None:
    key = live_server.make_key()
    made(sweep_of(methods=["kd"]), tmp_path, live_server, key)
    before, spent = (tmp_path / "rows.jsonl").read_bytes(), live_server.spent(key)
    assert made(sweep_of(methods=["kd"]), tmp_path, live_server, key) == ""
    assert (tmp_path / "rows.jsonl").read_bytes() == before and live_server.spent(key) == spent == 80
    made(sweep_of(methods=["kd", "ml"]), tmp_path, live_server, key)
    assert len(Rows(tmp_path).read()) == 4 and live_server.spent(key) == 80
    assert (tmp_path / "rows.jsonl").read_bytes().startswith(before)
    alone = Rows(tmp_path).read()["digits/resnet8/ml-soft-40-0"]
    assert alone["fidelity"] is None and alone["kl_nats"] is None  # nobody paid for the test images


def test_a_cell_that_fails_says_why_and_takes_along_only_what_needs_it(
    live_server: LiveServer, tmp_path: Path
) -> None:
    key = live_server.make_key(budget=100)
    sweep = sweep_of(methods=["kd", "pool", "ml"])
    said = made(sweep, tmp_path, live_server, key)
    rows = Rows(tmp_path).read()
    failed = {row["method"] for row in rows.values() if row["status"] == "failed"}
    assert failed == {"pool"} and live_server.spent(key) == 80
    largest, smaller = (rows[f"digits/resnet8/pool-soft-{budget}-0"] for budget in (80, 40))
    assert largest["error"].startswith("BudgetTooSmall: ") and "has 20 of 100 left" in largest["error"]
    assert "pool-soft-80-0 failed" in smaller["error"] and smaller["accuracy"] is None
    assert "has 20 of 100 left" in said
    again = made(sweep, tmp_path, live_server, live_server.make_key())
    rows = Rows(tmp_path).read()
    assert {row["status"] for row in rows.values()} == {"ok"} and "kd" not in again


def test_a_sweep_that_was_killed_goes_on_and_pays_for_nothing_twice(live_server: LiveServer, tmp_path: Path) -> None:
    key, out, file = live_server.make_key(), tmp_path / "out", tmp_path / "sweep.toml"
    file.write_text(f"methods = ['kd', 'pool', 'ml', 'noise']\nbudgets = [40, 80]\n{settings_of()}\n")
    flags = ("sweep", "--config", file, "--server", live_server.url, "--out", out, "--workers", "1")
    process = EdgeProcess(*flags, key=key, said=tmp_path / "said")
    process.wait_until(lambda: len(Rows(out).read()) >= 2)
    process.kill()
    process = EdgeProcess(*flags, key=key, said=tmp_path / "said")
    assert process.exit_code() == 0 and re.search("8 students, [2-7] of them made already", process.said())
    rows = Rows(out)
    assert len(rows.read()) == 8 and live_server.spent(key) == 3 * 80
    assert len(rows.path.read_text().splitlines()) == 8
    parquet = read_table(rows.parquet).to_pylist()
    assert [json.loads(row["config"]) for row in parquet] == [row["config"] for row in rows.read().values()]
    assert read_rows([rows.parquet]) == read_rows([rows.path])
    one = RunFolder(out / "digits/resnet8/kd-soft-80-0").results()["stages"]["distillation"]
    assert one["queries"] == 80


def test_a_key_that_cannot_pay_for_all_is_refused_before_anything_is_asked(
    live_server: LiveServer, tmp_path: Path
) -> None:
    key, sweep = live_server.make_key(budget=100), sweep_of(methods=["kd", "pool", "ml"])
    with (
        pytest.raises(BudgetTooSmall, match=r"needs 160 queries, key .* has 100 of 100 left"),
        served(sweep, tmp_path, None, server=live_server.url, key=SecretStr(key)) as place,
    ):
        check_keys(plan_sweep(sweep, tmp_path, None), place)
    assert live_server.spent(key) == 0


def test_a_folder_of_another_config_is_refused_before_it_takes_down_every_cell(
    live_server: LiveServer, tmp_path: Path
) -> None:
    key = live_server.make_key()
    made(sweep_of(methods=["kd"]), tmp_path, live_server, key)
    with pytest.raises(RunMismatch, match=r"kd-soft-80-0 belongs to another config: distillation\.steps is 12 there"):
        plan_sweep(sweep_of(methods=["kd"], config=merge(CONFIG, {"distillation": {"steps": 13}})), tmp_path, None)
    for student in ("resnet9", "torchvision/alexnet"):  # unknown, and for larger images
        with pytest.raises(InvalidConfig, match=student):
            plan_sweep(sweep_of(methods=["kd"], students=[student]), tmp_path, None)


def test_a_run_that_was_cut_short_gives_no_row_even_after_its_key_was_raised(
    live_server: LiveServer, tmp_path: Path
) -> None:
    sweep, key = sweep_of(methods=["kd"], budgets=[80]), live_server.make_key(name="shared", budget=100)
    cell = Cell("kd", "digits", "resnet8", "soft", 80, 0)

    def spend(*_: Any) -> None:
        with TeacherClient(live_server.url, SecretStr(key)) as other:
            other.ask(np.zeros((40, 1, 8, 8), np.uint8), LOGITS, "another-program")

    with TeacherClient(live_server.url, SecretStr(key)) as client:
        run(config_of(cell, sweep), client, tmp_path / cell.name, watcher=Watcher(on_key=spend))
    live_server.ledger.top_up("shared", 100)
    said = made(sweep, tmp_path, live_server, key)
    assert "ended after 60 of 80 queries" in said and Rows(tmp_path).read()[cell.name]["status"] == "failed"


def test_a_journal_that_cannot_be_read_is_the_failure_of_its_cell_alone(
    live_server: LiveServer, tmp_path: Path
) -> None:
    sweep, key = sweep_of(methods=["kd", "noise"], budgets=[40]), live_server.make_key()
    broken = RunFolder(tmp_path / "digits/resnet8/kd-soft-40-0")
    broken.claim(config_of(Cell("kd", "digits", "resnet8", "soft", 40, 0), sweep))
    broken.journal.write_bytes(b"no database" * 1000)
    made(sweep, tmp_path, live_server, key)
    rows = Rows(tmp_path).read()
    assert {row["method"]: row["status"] for row in rows.values()} == {"kd": "failed", "noise": "ok"}


def test_two_sweeps_at_once_in_a_folder_are_refused(live_server: LiveServer, tmp_path: Path) -> None:
    with Rows(tmp_path).locked(), pytest.raises(RunMismatch, match=r"has .*rows\.jsonl open"):
        made(sweep_of(methods=["kd"]), tmp_path, live_server, live_server.make_key())


@pytest.mark.parametrize("method", ["kd", "a-method-whose-name-is-very-long-indeed"])
def test_keys_have_names_that_servers_allow_and_that_stay_apart(method: str) -> None:
    names = [
        key_name(Cell(method, "tiny-imagenet", "torchvision/efficientnet_b0", "top1", 1000, seed).name)
        for seed in range(3)
    ]
    assert len(set(names)) == 3 and all(NAME.fullmatch(name) for name in names)


def test_without_the_teacher_there_is_no_row_and_the_reason_is_told(live_server: LiveServer, tmp_path: Path) -> None:
    key = live_server.make_key()
    said = made(sweep_of(methods=["kd"]), tmp_path, live_server, key, live_server.make_key(budget=TEST_IMAGES - 1))
    assert "teacher of digits failed" in said and not Rows(tmp_path).read()
    said = made(sweep_of(methods=["kd"]), tmp_path, live_server, key)
    rows = Rows(tmp_path).read()
    assert len(rows) == 2 and all(row["fidelity"] is None for row in rows.values())  # 399 of 400 are not enough


def test_a_folder_where_another_teacher_answered_gets_no_more_rows(serve: Serve, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = LinearTeacher(version="first"), LinearTeacher(version="second")
    server = serve(first)
    made(sweep_of(methods=["kd"]), out, server, server.make_key())
    rows = Rows(out).read()
    assert {row["teacher"] for row in rows.values()} == {"teacher@first"}
    server = serve(second, ledger_path=tmp_path / "second.sqlite")
    key = server.make_key()
    said = made(sweep_of(methods=["kd", "ml"]), out, server, key)
    assert "version first of the model 'teacher'" in said and "now has version second" in said
    assert Rows(out).read() == rows and server.spent(key) == 0


def test_tasks_at_once_wait_for_each_others_journals(live_server: LiveServer, tmp_path: Path) -> None:
    """Every student looks into one journal of test answers, and every replay into its leader's."""
    key, evaluation_key = live_server.make_key(), live_server.make_key()
    made(sweep_of(methods=["kd"], budgets=[80]), tmp_path, live_server, key, evaluation_key)
    leader = Rows(tmp_path).read()["digits/resnet8/kd-soft-80-0"]
    answers = tmp_path / "digits/test_answers.sqlite"
    busy = Journal(answers)
    timer = threading.Timer(0.3, busy.close)
    timer.start()
    measures = measured(RunFolder(tmp_path / "digits/resnet8/kd-soft-80-0"), whole_digits().test, answers)
    timer.join()
    assert measures["fidelity"] == leader["fidelity"] is not None


def test_a_dataset_without_a_teacher_and_two_teachers_for_one_server_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidConfig, match=r"'digits' has no teacher\. Add --teacher digits="),
        served(sweep_of(methods=["kd"]), tmp_path, None),
    ):
        pass
    both = sweep_of(methods=["kd"], teachers={"digits": tmp_path})
    with pytest.raises(InvalidConfig, match="one teacher"), served(both, tmp_path, None, server="http://x"):
        pass


def test_a_broken_line_among_the_rows_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"method": "kd"}\n')
    with pytest.raises(InvalidCheckpoint, match=r"rows\.jsonl, line 1, is no row of a sweep: KeyError"):
        Rows(tmp_path).read()


def test_the_display_tells_how_far_it_is_and_when_it_will_be_done() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), width=100)
    display = SweepDisplay(console, 3, 2, clock=lambda: now[0])
    assert display.seconds_left() is None
    display.started("one")
    display.started("two")
    now[0] = 10.0
    display.made("one", {"status": "ok", "accuracy": 0.5, "queries": 80, "paid": 0})
    assert display.seconds_left() == 10.0  # two left, ten seconds each, two at once
    display.made("two", {"status": "failed", "error": "[no] reason"})
    display.started("three")
    now[0] = 75.0
    console.print(display.picture())
    said = console.file.getvalue() if isinstance(console.file, io.StringIO) else ""
    assert "2 of 3 students, 1 failed; 0 queries paid, 80 saved; about 0:00:10 left" in said
    assert "three" in said and "0:01:05" in said and "[no] reason" in said
