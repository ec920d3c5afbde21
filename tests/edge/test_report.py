import base64
import io
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from rich.console import Console

from edge.client import TeacherClient
from edge.evaluation import evaluate
from edge.report import figures
from edge.report.page import write_report
from edge.report.summary import evaluation_table, run_table
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from shared.errors import RunMismatch
from tests.conftest import LiveServer
from tests.edge.small import small_config


class Page(HTMLParser):
    """Every reference, picture and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.pictures: dict[str, str] = {}
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.references += [given[name] for name in ("src", "href", "srcset", "data", "action") if name in given]
        if tag == "img":
            self.pictures[given["alt"]] = given["src"]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.fixture
def finished(live_server: LiveServer, tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes the folder of a finished and evaluated run."""

    def make(*, evaluated: bool = True, policy: str = "logits", **changes: Any) -> RunFolder:
        folder = RunFolder(tmp_path / "run")
        with TeacherClient(live_server.url, SecretStr(live_server.make_key(name="edge-1", policy=policy))) as client:
            run(small_config(**changes), client, folder.path)
            if evaluated:
                evaluate(folder, client, None, Watcher())
        return folder

    return make


def leaves(section: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in section.items():
        found |= {f"{name}.{k}": v for k, v in leaves(value).items()} if isinstance(value, dict) else {name: value}
    return found


def test_the_page_holds_everything_and_refers_to_nothing(finished: Callable[..., RunFolder]) -> None:
    folder = finished()
    text = write_report(folder, None).read_text()
    page = Page(text)
    assert page.references and all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not {"script", "link", "iframe", "base"} & set(page.tags)
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text
    assert len(page.pictures) == 7
    for source in page.pictures.values():
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2], validate=True))) as picture:
            assert picture.format == "PNG" and len(set(picture.convert("L").tobytes())) > 1


def test_the_page_tells_every_field_of_the_config_and_the_numbers_of_the_results(
    finished: Callable[..., RunFolder],
) -> None:
    folder = finished(seed=7)
    page = Page(write_report(folder, None).read_text())
    for name, value in leaves(folder.config().model_dump()).items():
        assert page.words[page.words.index(name) + 1] == str(value)
    results = folder.results()
    for share in ("student_accuracy", "teacher_accuracy", "fidelity"):
        assert f"{results['evaluation'][share]:.2%}" in page.words
    assert any("100 of 10,000 queries" in words and "edge-1" in words for words in page.words)


def test_a_run_that_was_not_evaluated_and_knows_only_labels_has_a_report_too(
    finished: Callable[..., RunFolder],
) -> None:
    changes = {"response": "top1", "distillation": {"image_weight": 0.0}}
    page = Page(write_report(finished(evaluated=False, policy="top1", **changes), None).read_text())
    assert "teacher accuracy" not in page.words and "confusion" not in page.pictures
    assert len(page.pictures) == 6


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


def picture(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(png)) as file:
        return np.asarray(file.convert("L"))


def test_an_image_grid_shows_the_pixels_as_they_are() -> None:
    black_and_white = np.stack([np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)])
    mid_grey = np.full((2, 1, 8, 8), 128, np.uint8)
    assert (picture(figures.image_grid(black_and_white)) == 0).any()
    assert not (picture(figures.image_grid(mid_grey)) == 0).any()  # not stretched to the full range
    assert picture(figures.image_grid(np.zeros((13, 3, 8, 8), np.uint8))).size > 0


def test_long_curves_are_smoothed_and_missing_ones_left_out() -> None:
    def inked_rows(points: int) -> int:
        """Rows of the picture that the curve touches; it swings between 0 and 1 at every step."""
        swinging = [(step, float(step % 2)) for step in range(points)]
        with Image.open(io.BytesIO(figures.curves({"a": swinging}, ("a", "b"), "value"))) as file:
            red, _, blue = np.moveaxis(np.asarray(file.convert("RGB"), np.int16), 2, 0)
        return int((blue - red > 60).any(1).sum())

    assert inked_rows(2000) < 0.5 * inked_rows(200)
