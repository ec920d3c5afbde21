import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edge.cli import app
from edge.run_folder import RunFolder
from edge.transfer_set import transfer_file
from edge.transfer_set.run_pairs import run_pairs
from edge.transfer_set.stored_pairs import joined
from shared.errors import InvalidCheckpoint, InvalidConfig, RunMismatch
from tests.conftest import LiveServer
from tests.edge.small import TINY
from tests.edge.transfer_set.storing import finished_run, stored


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run."""
    return finished_run(tmp_path_factory.mktemp("source") / "run").path


def invoke(*arguments: object, key: str | None = None) -> Result:
    env = {"MEKD_API_KEY": key, "MEKD_API_KEY_FILE": None, "MEKD_SERVER_URL": None, "COLUMNS": "200"}
    return CliRunner().invoke(app, list(map(str, arguments)), env=env, catch_exceptions=False)


def told(*arguments: object) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_what_one_edge_paid_serves_another_without_a_query(live_server: LiveServer, tmp_path: Path) -> None:
    (tiny := tmp_path / "tiny.toml").write_text(TINY)
    file, key = tmp_path / "paid.safetensors", live_server.make_key(budget=200)
    distill = ["distill", "--server", live_server.url, "--config", tiny, "--out"]
    assert invoke(*distill, tmp_path / "first", key=key).exit_code == 0
    assert invoke("export", "--run", tmp_path / "first", "--to", file).exit_code == 0
    assert "100" in invoke("import", file, "--run", tmp_path / "second").stderr
    assert invoke(*distill, tmp_path / "second", key=key).exit_code == 0
    assert live_server.spent(key) == 100
    students = [(tmp_path / name / "student.safetensors").read_bytes() for name in ("first", "second")]
    assert students[0] == students[1]


def test_export_tells_what_it_wrote(run: Path, tmp_path: Path) -> None:
    shown = told("export", "--run", run, "--to", file := tmp_path / "file.safetensors")
    assert transfer_file.load(file).digest() == shown["digest"] == run_pairs(RunFolder(run)).digest()
    assert (shown["pairs"], shown["stages"]) == (100, {"deprivatization": 30, "distillation": 70})
    table = invoke("export", "--run", run, "--to", file)
    assert table.stdout == "" and shown["digest"] in table.stderr and "stages, distillation" in table.stderr
    assert invoke("export", "--run", run, "--to", file, "--quiet").stderr == ""


def test_import_tells_what_was_new(tmp_path: Path) -> None:
    transfer_file.save(file := tmp_path / "file.safetensors", stored(5))
    for new in (5, 0):
        shown = told("import", file, "--run", tmp_path / "run")
        assert (shown["pairs"], shown["new"], shown["known"]) == (5, new, 5 - new)


def test_merge_takes_folders_and_files_and_equal_images_once(run: Path, tmp_path: Path) -> None:
    ours, file = run_pairs(RunFolder(run)), tmp_path / "a.safetensors"
    transfer_file.save(file, ours.first(40))
    shown = told("merge", file, run, "--to", tmp_path / "both.safetensors")
    assert (shown["first"], shown["second"], shown["common"], shown["pairs"]) == (40, 100, 40, 100)
    assert transfer_file.load(tmp_path / "both.safetensors").digest() == ours.digest()


def test_merge_refuses_another_teachers_answers_and_writes_nothing(tmp_path: Path) -> None:
    a, b, to = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "to"))
    ours = stored(4)
    theirs = joined(stored(3, seed=1), ours)
    theirs.answers[3:5] += 0.1
    transfer_file.save(a, ours)
    transfer_file.save(b, theirs)
    with pytest.raises(RunMismatch, match="different answers to 2 of the 4 images that are in both"):
        invoke("merge", a, b, "--to", to)
    assert not to.exists()


def test_replay_trains_without_server_and_key(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    replayed = invoke("replay", "--from", run, "--out", out)
    assert replayed.exit_code == 0 and replayed.stdout == ""
    assert "distillation: 12 of 12 steps to do" in replayed.stderr and "replayed from" in replayed.stderr
    assert str(out / "student.safetensors") in replayed.stderr
    assert (out / "student.safetensors").read_bytes() == (run / "student.safetensors").read_bytes()
    assert invoke("evaluate", "--run", out).exit_code == 0


def test_the_flags_of_replay_change_the_config_and_the_file_goes_below_them(run: Path, tmp_path: Path) -> None:
    (file := tmp_path / "c.toml").write_text("seed = 3\nbudget = 80\n[distillation]\nsteps = 4\n")
    flags = ["--budget", 50, "--student", "resnet20", "--image-weight", 0, "--kl-weight", 2, "--config", file]
    shown = told("replay", "--from", run, "--out", tmp_path / "out", *flags)
    config = RunFolder(tmp_path / "out").config()
    assert (config.seed, config.budget, config.student) == (3, 50, "resnet20")
    step = config.distillation
    assert (step.steps, step.image_weight, step.kl_weight, step.batch) == (4, 0, 2, 8)
    assert shown["replayed_from"]["queries"] == 50 and shown["config"]["seed"] == 3
    told("replay", "--from", run, "--out", tmp_path / "reseeded", "--seed", 4, "--config", file)
    assert RunFolder(tmp_path / "reseeded").config().seed == 4


def test_replay_from_a_file_takes_a_generator_or_no_image_term(run: Path, tmp_path: Path) -> None:
    transfer_file.save(file := tmp_path / "file.safetensors", run_pairs(RunFolder(run)))
    (few := tmp_path / "few.toml").write_text("[distillation]\nsteps = 2\nbatch = 8\nimage_weight = 0.01\n")
    replay = ["replay", "--from", file, "--config", few, "--out"]
    with pytest.raises(InvalidConfig, match=r"--generator FILE.*--image-weight 0"):
        invoke(*replay, tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert invoke(*replay, tmp_path / "off", "--image-weight", 0).exit_code == 0
    assert invoke(*replay, tmp_path / "given", "--generator", run / "generator.safetensors").exit_code == 0
    assert (tmp_path / "given" / "generator.safetensors").exists()


def test_a_wrong_file_is_named(tmp_path: Path) -> None:
    (junk := tmp_path / "junk.safetensors").write_text("no tensors")
    for arguments in (
        ["import", junk, "--run", tmp_path / "run"],
        ["merge", junk, junk, "--to", tmp_path / "to"],
        ["replay", "--from", junk, "--out", tmp_path / "out"],
    ):
        with pytest.raises(InvalidCheckpoint, match=r"junk\.safetensors is not a readable transfer set"):
            invoke(*arguments)
    assert list(tmp_path.iterdir()) == [junk]
