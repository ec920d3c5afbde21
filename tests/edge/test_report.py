import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from rich.console import Console

from edge.adapted_student import Adaptation
from edge.asking.client import TeacherClient
from edge.evaluation import evaluate
from edge.replay import changed, open_source, replay
from edge.report import charts
from edge.report.page import write_report
from edge.report.summary import evaluation_table, run_table
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from shared.errors import RunMismatch
from tests.conftest import running
from tests.edge.html_page import Page
from tests.edge.small import small_config
from tests.fakes import LinearTeacher


def distil(out: Path, policy: str, changes: dict[str, Any], *, evaluated: bool) -> None:
    """A finished run of a server's first key."""
    with running(LinearTeacher(), out.with_suffix(".sqlite")) as server:
        key = server.make_key(name="edge-1", policy=policy)
        with TeacherClient(server.url, SecretStr(key)) as client:
            run(small_config(**changes), client, out)
            if evaluated:
                evaluate(RunFolder(out), client, None, Watcher())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the folder of a finished run, of equal ones the first."""
    folder, known = tmp_path_factory.mktemp("finished"), dict[str, Path]()

    def make(policy: str, changes: dict[str, Any], *, evaluated: bool) -> Path:
        name = json.dumps([policy, changes, evaluated])
        if name not in known:
            distil(folder / str(len(known)), policy, changes, evaluated=evaluated)
            known[name] = folder / str(len(known))
        return known[name]

    return make


@pytest.fixture
def finished(made: Callable[..., Path], tmp_path: Path) -> Callable[..., RunFolder]:
    """Hands out the folder of a finished and evaluated run, to be written into."""

    def hand_out(*, evaluated: bool = True, policy: str = "logits", **changes: Any) -> RunFolder:
        return RunFolder(shutil.copytree(made(policy, changes, evaluated=evaluated), tmp_path / "run"))

    return hand_out


def leaves(section: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in section.items():
        found |= {f"{name}.{k}": v for k, v in leaves(value).items()} if isinstance(value, dict) else {name: value}
    return found


def test_the_page_holds_everything_and_refers_to_nothing(finished: Callable[..., RunFolder]) -> None:
    text = write_report(finished(), None).read_text()
    page = Page(text)
    inside = [reference for reference in page.references if reference.startswith("#")]
    assert {reference.removeprefix("#") for reference in inside} <= set(re.findall(r'id="([^"]+)"', text))
    embedded = set(page.references) - set(inside)
    assert embedded and all(reference.startswith("data:image/png;base64,") for reference in embedded)
    assert not {"script", "link", "iframe", "base", "object"} & set(page.tags)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert {alt.partition(" ")[0] for alt in page.pictures} >= {"Real", "Generated"}
    for source in page.pictures.values():
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2], validate=True))) as picture:
            assert picture.format == "PNG" and len(set(picture.convert("L").tobytes())) > 1
    told = " ".join(page.charts)
    for chart in (
        "Queries paid over time",
        "Shares of the teacher's classes",
        "Losses of the GAN",
        "Confusion matrix",
    ):
        assert chart in told
    assert "prefers-color-scheme: dark" in text and "@media print" in text and charts.INK not in text


def test_the_page_tells_every_field_of_the_config_and_the_numbers_of_the_results(
    finished: Callable[..., RunFolder],
) -> None:
    folder = finished(seed=7)
    evaluate(folder, None, None, Watcher(), adaptation=Adaptation("test"))
    page = Page(write_report(folder, None).read_text())
    config = page.words[page.words.index("Config") :]
    for name, value in leaves(folder.config().model_dump()).items():
        assert config[config.index(name) + 1] == str(value)
    results = folder.results()
    for share in ("student_accuracy", "teacher_accuracy", "fidelity"):
        assert f"{results['evaluation'][share]:.2%}" in page.words
    adapted = results["evaluation"]["adapted"]
    assert "adapted to the test images, 64 at a time" in page.words
    assert page.row("accuracy")[:2] == [
        f"{results['evaluation']['student_accuracy']:.2%}",
        f"{adapted['accuracy']:.2%}",
    ]
    assert page.row("KL(teacher || student), nats")[1] == f"{adapted['kl_nats']:.4f}"
    assert any("100 of 10,000 queries" in words and "edge-1" in words for words in page.words)


def test_a_run_that_was_not_evaluated_and_knows_only_labels_has_a_report_too(
    finished: Callable[..., RunFolder],
) -> None:
    changes = {"response": "top1", "distillation": {"image_weight": 0.0}}
    page = Page(write_report(finished(evaluated=False, policy="top1", **changes), None).read_text())
    assert (
        "teacher accuracy" not in page.words
        and "Adapted by forward passes" not in page.words
        and not any("Confusion" in chart for chart in page.charts)
    )
    assert any("answer term" in chart for chart in page.charts)
    assert not any("image term" in chart for chart in page.charts)


def test_the_account_adds_up_and_a_prediction_stands_beside_what_happened(
    finished: Callable[..., RunFolder],
) -> None:
    folder = finished(evaluated=False)
    results = folder.results()
    predicted = {
        "queries": 30,
        "requests": 2,
        "bytes_up": None,
        "seconds": 2 * results["stages"]["deprivatization"]["seconds"],
    }
    results["prediction"] = {"stages": {"deprivatization": predicted}}
    folder.keep_results(results)
    page = Page(write_report(folder, None).read_text())
    up = sum(part["bytes_up"] for part in (*results["stages"].values(), results["bookkeeping"]))
    assert page.row("in all")[:4] == ["100", "100", "100", f"{up:,}"]
    assert page.row("deprivatization", "queries")[:3] == ["30", "30", "+0.0%"]
    assert page.row("deprivatization", "seconds in all")[2] == "-50.0%"
    assert page.words.count("bytes up") == 1  # not foreseen, so only in the account


def test_a_folder_of_an_earlier_version_has_a_report(finished: Callable[..., RunFolder]) -> None:
    folder = finished()
    results = folder.results()
    for name in ("link", "prediction", "imported"):
        results.pop(name, None)
    for name in ("teacher_confusion", "agreement"):
        results["evaluation"].pop(name, None)
    for part in (*results["stages"].values(), results["bookkeeping"]):
        part.pop("link_seconds", None)
    folder.keep_results(results)
    page = Page(write_report(folder, None).read_text())
    assert "Predicted, and what happened" not in page.words and "seconds on the link" not in page.words


def test_every_confusion_that_was_measured_is_shown(finished: Callable[..., RunFolder]) -> None:
    folder = finished()
    results = folder.results()
    identity = np.eye(10, dtype=int).tolist()
    results["evaluation"] |= {"teacher_confusion": identity, "agreement": identity}
    folder.keep_results(results)
    page = Page(write_report(folder, None).read_text())
    for who in ("student", "teacher", "student against teacher"):
        assert any(f"Confusion matrix of {who}:" in chart for chart in page.charts)
    assert "Accuracy by class." in page.charts


def test_replays_of_budget_prefixes_are_compared_by_queries(
    finished: Callable[..., RunFolder], tmp_path: Path
) -> None:
    whole = finished()
    replay(*changed(open_source(whole.path), None, {"budget": 40}), tmp_path / "prefix")
    prefix = RunFolder(tmp_path / "prefix")
    accuracy = evaluate(prefix, None, None, Watcher())["student_accuracy"]
    page = Page(write_report(whole, None, [prefix]).read_text())
    assert page.row(str(prefix.path))[:3] == ["40", "resnet8", "0"]
    assert page.row(str(prefix.path))[4] == f"{accuracy:.2%}"
    assert page.words.index(str(prefix.path)) < page.words.index(str(whole.path))
    alone = Page(write_report(prefix, None).read_text())
    assert "Step 2: distillation" in alone.words and "Step 1: deprivatization" not in alone.words
    assert any("A replay of stored answers" in words for words in alone.words)


def test_names_from_a_server_cannot_become_markup(finished: Callable[..., RunFolder]) -> None:
    folder = finished(evaluated=False)
    results = folder.results()
    results["server"]["client"] = "<script>alert(1)</script>"
    folder.keep_results(results)
    assert "script" not in Page(write_report(folder, None).read_text()).tags


def test_a_run_that_is_not_finished_has_no_report(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(RunMismatch):
        write_report(folder, None)
    assert not folder.report.exists()


def test_the_tables_for_the_terminal_show_the_numbers(finished: Callable[..., RunFolder]) -> None:
    results = finished().results()
    console = Console(file=io.StringIO(), width=120)
    console.print(run_table(results, {"parameters of the teacher": 272474}))
    console.print(evaluation_table(results["evaluation"]))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    for words in (
        f"{results['evaluation']['student_accuracy']:.2%}",
        f"{results['evaluation']['kl_nats']:.4f}",
        "272,474",
        f"{results['student']['parameters']:,}",
        f"{sum(stage['bytes_up'] for stage in results['stages'].values()):,}",
    ):
        assert words in said
