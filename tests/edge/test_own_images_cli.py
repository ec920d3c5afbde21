"""The commands as somebody types them who has a folder of images."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from edge.cli import app
from edge.commands.options import data_source
from edge.run_folder import RunFolder
from shared.errors import InvalidConfig
from tests.conftest import LiveServer, Serve
from tests.edge.images.pictures import write_pictures
from tests.edge.small import TINY
from tests.fakes import LinearTeacher


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder to work in, with subfolders `mine` and `digits`."""
    for name in ("mine", "digits"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("data", "dataset", "root"),
    [
        (None, None, None),
        ("mnist", "mnist", None),
        ("cats", "cats", None),
        ("mine", "folder", Path("mine")),
        ("./mine", "folder", Path("mine")),
        ("digits", "digits", None),
        ("./digits", "folder", Path("digits")),
        ("not/there", "folder", Path("not/there")),
    ],
)
def test_data_names_a_dataset_or_a_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch, data: str | None, dataset: str | None, root: Path | None
) -> None:
    monkeypatch.chdir(here)
    assert data_source(data, None) == (dataset, root)


def test_a_folder_and_a_folder_of_datasets_do_not_go_together(here: Path) -> None:
    assert data_source("mnist", here) == ("mnist", here)
    with pytest.raises(InvalidConfig, match="Leave out --data-root"):
        data_source(str(here), here)


@pytest.fixture
def server(serve: Serve) -> LiveServer:
    return serve(LinearTeacher((3, 16, 16), 4))


def invoke(server: LiveServer, *arguments: object) -> Result:
    env = {"MEKD_API_KEY": server.make_key(budget=100), "MEKD_SERVER_URL": server.url, "COLUMNS": "200"}
    return CliRunner().invoke(app, list(map(str, arguments)), env=env, catch_exceptions=False)


def test_a_folder_is_distilled_tested_and_reported_and_test_images_leave_only_on_leave(
    server: LiveServer, tmp_path: Path
) -> None:
    mine, test, run = tmp_path / "mine", tmp_path / "test", tmp_path / "run"
    write_pictures(mine, 20)
    for label in range(4):
        write_pictures(test / f"kind {label}", 2, seed=10 + label)
    (tmp_path / "tiny.toml").write_text(TINY)
    distilled = invoke(server, "distill", "--data", mine, "--config", tmp_path / "tiny.toml", "--out", run)
    assert "reading 20 image files\n20 images" in distilled.stderr
    assert RunFolder(run).config().dataset == "folder"

    asked = sum(server.teacher.batches)
    alone = invoke(server, "evaluate", "--run", run, "--test", test)
    assert "The teacher is not asked" in alone.stderr and "student accuracy" in alone.stderr
    assert "fidelity" not in alone.stderr and sum(server.teacher.batches) == asked
    compared = invoke(server, "evaluate", "--run", run, "--test", test, "--send-test-images")
    assert "fidelity" in compared.stderr and sum(server.teacher.batches) == asked + 8
    assert np.sum(RunFolder(run).results()["evaluation"]["teacher_confusion"]) == 8

    invoke(server, "report", "--run", run, "--data", mine)
    with_images = (run / "report.html").stat().st_size
    invoke(server, "report", "--run", run)
    assert (run / "report.html").stat().st_size < with_images
