"""The released method from the plan to the report."""

import io
import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr
from rich.console import Console

from edge.asking.client import TeacherClient
from edge.evaluation import evaluate
from edge.official.networks import OfficialGenerator
from edge.replay import changed, open_source, replay
from edge.report.page import write_report
from edge.report.summary import run_table
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set import transfer_file
from edge.transfer_set.journal import Journal
from edge.transfer_set.run_pairs import import_pairs, run_pairs
from shared.errors import BudgetTooSmall, InvalidConfig, Stopped
from shared.protocol import LABEL, LOGITS
from tests.conftest import LiveServer, Serve
from tests.edge.html_page import Page
from tests.edge.official.asking import STEP_1, STEP_2, KeyedTeacher, official_config
from tests.edge.transfer_set.storing import stored


class ProcessDied(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run, from which tests only read, evaluated."""
    folder = RunFolder(tmp_path_factory.mktemp("official") / "run")
    run(official_config(), KeyedTeacher(), folder.path)
    evaluate(folder, None, None, Watcher())
    return folder


def learnt(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("generator.safetensors", "student.safetensors", "curves.json")]


@pytest.mark.parametrize(("output", "response"), [(LOGITS, "soft"), (LABEL, "top1")])
def test_a_run_asks_at_every_step_and_spends_its_budget_in_both_stages(
    tmp_path: Path, output: str, response: str
) -> None:
    teacher = KeyedTeacher(output)
    results = run(official_config(response=response), teacher, tmp_path / "run")
    assert teacher.sizes == STEP_1 + STEP_2
    queries = [(stage["queries_planned"], stage["queries"]) for stage in results["stages"].values()]
    assert queries == [(18, 18), (42, 42)] and results["pool"]["pairs"] == 60
    assert results["prediction"]["held_out"] == 0 and 0 <= results["pool"]["inverse_fidelity"] <= 1
    folder = RunFolder(tmp_path / "run")
    assert isinstance(folder.load_generator(), OfficialGenerator) and not folder.state["distillation"].exists()
    assert folder.load_student()[0].facts == {}


@pytest.mark.parametrize(
    ("looks_before_stop", "dies_at"),
    [
        (3, ("deprivatization", 3)),  # stopped between the step's beginning and its question
        (4, ("deprivatization", 5)),
        (7, ("distillation", 2)),  # with no state of step 2 kept
        (13, ("distillation", 5)),  # with the state of step 2 kept, three steps and requests back
    ],
)
def test_a_run_that_is_stopped_and_killed_asks_nothing_twice_and_ends_as_an_undisturbed_one(
    finished: RunFolder, tmp_path: Path, looks_before_stop: int, dies_at: tuple[str, int]
) -> None:
    teacher, out, looks = KeyedTeacher(), tmp_path / "disturbed", itertools.count()

    def die(stage: str, done: int, *_: Any) -> None:
        if (stage, done) == dies_at:
            raise ProcessDied

    with pytest.raises(Stopped):
        run(official_config(), teacher, out, watcher=Watcher(should_stop=lambda: next(looks) >= looks_before_stop))
    with pytest.raises(ProcessDied):
        run(official_config(), teacher, out, watcher=Watcher(on_step=die))
    results = run(official_config(), teacher, out)
    assert learnt(out) == learnt(finished.path)
    assert teacher.sizes == STEP_1 + STEP_2 and len(set(teacher.keys)) == len(teacher.keys)
    assert [stage["queries"] for stage in results["stages"].values()] == [18, 42]


def test_a_budget_that_somebody_else_spends_stops_the_run_until_it_is_raised(
    live_server: LiveServer, tmp_path: Path
) -> None:
    def distil(key: str, name: str, watcher: Watcher | None = None) -> None:
        with TeacherClient(live_server.url, SecretStr(key)) as client:
            run(official_config(), client, tmp_path / name, watcher=watcher)

    def spend(stage: str, done: int, *_: Any) -> None:
        if (stage, done) == ("distillation", 3):
            with TeacherClient(live_server.url, SecretStr(key)) as other:
                other.ask(np.zeros((12, 1, 8, 8), np.uint8), LOGITS, "another-program")

    key = live_server.make_key(name="shared", budget=60)
    with pytest.raises(BudgetTooSmall, match="ended in distillation, with 6 of the 8 answers"):
        distil(key, "poor", Watcher(on_step=spend))
    live_server.ledger.top_up("shared", 12)
    distil(key, "poor")
    distil(live_server.make_key(), "rich")
    assert learnt(tmp_path / "poor") == learnt(tmp_path / "rich") and live_server.spent(key) == 72


@pytest.mark.parametrize(
    ("policy", "response", "images_per_request"), [("logits", "soft", 1024), ("top1", "top1", 3)]
)
def test_a_run_takes_what_was_predicted_to_the_byte(
    serve: Serve, tmp_path: Path, policy: str, response: str, images_per_request: int
) -> None:
    server = serve(images_per_request=images_per_request)
    with TeacherClient(server.url, SecretStr(server.make_key(budget=100, policy=policy))) as client:
        results = run(official_config(response=response), client, tmp_path / "run", timing=response == "soft")
    for (name, took), sizes in zip(results["stages"].items(), (STEP_1, STEP_2), strict=True):
        expected = results["prediction"]["stages"][name]
        assert expected["queries"] == took["queries"] == took["queries_by_server"] == sum(sizes)
        assert expected["bytes_up"] == took["bytes_up"]
        assert 0 <= expected["bytes_down"] - took["bytes_down"] <= expected["bytes_down_slack"]
        assert expected["requests"] == sum(math.ceil(size / images_per_request) for size in sizes)
        assert (expected["seconds"] is None) == (response == "top1") and expected["refusals"] == 0
        with Journal(tmp_path / "run" / "transfer_set.sqlite") as journal:
            assert expected["requests"] == sum(1 for _ in journal.answered(name))


def test_the_report_and_the_table_tell_of_no_held_out_answers(finished: RunFolder) -> None:
    page = Page(write_report(finished, None).read_text())
    assert any("pixel term" in chart for chart in page.charts) and "Step 1: deprivatization" in page.words
    assert not any("held-out" in words.lower() for words in (*page.words, *page.charts, *page.pictures))
    Console(file=io.StringIO()).print(run_table(finished.results()))


def test_a_replay_is_refused_and_its_message_is_the_way_out(finished: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidConfig, match=r"'mekd-official', makes use of the answers while it asks.*export --run .* --to FILE"
    ) as caught:
        replay(*changed(open_source(finished.path), None, {}), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    generator = re.search(r"--generator (\S+)", str(caught.value))
    assert generator
    transfer_file.save(file := tmp_path / "file.safetensors", run_pairs(finished))
    source = open_source(file, Path(generator[1]))
    few_steps = {"distillation": {"steps": 4, "batch": 8, "evaluate_every": 4}}
    results = replay(*changed(source, None, few_steps), tmp_path / "out")
    assert results["config"]["method"] == "mekd" and results["pool"]["pairs"] == 60


def test_imported_pairs_are_not_learnt_from(tmp_path: Path) -> None:
    import_pairs(stored(5), RunFolder(tmp_path / "run"), "file")
    results = run(official_config(), KeyedTeacher(), tmp_path / "run")
    assert (results["imported"], results["pool"]["pairs"]) == (0, 60)
