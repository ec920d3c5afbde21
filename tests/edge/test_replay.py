import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.config import FOLDER, Config
from edge.evaluation import evaluate
from edge.gan import Generator
from edge.replay import Source, changed, open_source, replay
from edge.report.page import write_report
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set import transfer_file
from edge.transfer_set.journal import Journal
from edge.transfer_set.run_pairs import import_pairs, run_pairs
from shared import checkpoints
from shared.errors import InvalidCheckpoint, InvalidConfig, MekdError, RunMismatch, Stopped, UnknownDataset
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from tests.conftest import Serve
from tests.edge.small import small_config
from tests.edge.transfer_set.storing import FreeTeacher, finished_run, stored


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A finished run, from which tests only read."""
    folder = finished_run(tmp_path_factory.mktemp("source") / "run")
    before = {file: file.read_bytes() for file in folder.path.iterdir() if file.is_file()}
    yield folder
    assert {file: file.read_bytes() for file in folder.path.iterdir() if file.is_file()} == before


@pytest.fixture
def file(folder: RunFolder, tmp_path: Path) -> Path:
    transfer_file.save(path := tmp_path / "transfer.safetensors", run_pairs(folder))
    return path


def replayed(source: Source, out: Path, watcher: Watcher | None = None, **flags: Any) -> dict[str, Any]:
    source, config = changed(source, None, flags)
    return replay(source, config, out, watcher)


def same_student(one: Path, other: Path) -> bool:
    ours, theirs = (RunFolder(path).load_student()[1].state_dict() for path in (one, other))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("policy", "output"), [("logits", LOGITS), ("probabilities", PROBABILITIES), ("top1", LABEL)]
)
def test_with_the_server_gone_a_replay_gives_the_online_runs_student_bit_for_bit(
    serve: Serve, tmp_path: Path, policy: str, output: str
) -> None:
    server, online, offline = serve(), tmp_path / "online", tmp_path / "offline"
    config = small_config(response="top1" if output == LABEL else "soft")
    with TeacherClient(server.url, SecretStr(server.make_key(budget=100, policy=policy))) as client:
        paid = run(config, client, online)
    batches = len(server.teacher.batches)
    results = replayed(open_source(online), offline)
    assert len(server.teacher.batches) == batches
    assert same_student(online, offline)
    for name in ("student.safetensors", "generator.safetensors", "config.json"):
        assert (offline / name).read_bytes() == (online / name).read_bytes()
    assert RunFolder(offline).curves()["distillation"] == RunFolder(online).curves()["distillation"]
    assert results["output"] == output and results["pool"] == paid["pool"]


def test_a_replay_does_not_even_know_how_to_ask() -> None:
    code = "import sys, edge.replay; assert not {'edge.asking.client', 'edge.asking.exchange'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_from_a_file_and_the_runs_generator_it_is_the_same_student_too(
    folder: RunFolder, file: Path, tmp_path: Path
) -> None:
    shutil.copy(folder.generator, generator := tmp_path / "G.safetensors")
    source, config = open_source(file, generator), folder.config()
    replay(source, config, tmp_path / "out")
    assert same_student(folder.path, tmp_path / "out")


def test_the_results_tell_what_was_paid_once_and_that_nothing_is_paid_now(folder: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = replayed(open_source(folder.path), out)
    assert results == RunFolder(out).results()
    queries = {stage: took["queries"] for stage, took in results["stages"].items()}
    assert queries == {"deprivatization": 30, "distillation": 70} == run_pairs(folder).queries()
    sent = [*results["stages"].values(), results["bookkeeping"]]
    assert all(part["bytes_up"] == part["bytes_down"] == 0 for part in sent) and results["server"] is None
    assert results["replayed_from"]["digest"] == run_pairs(folder).digest()
    assert (results["replayed_from"]["name"], results["replayed_from"]["queries"]) == (str(folder.path), 100)
    with Journal(RunFolder(out).journal) as journal:
        assert (journal.queries(), journal.asked(), journal.traffic().up) == (0, 0, 0)
    assert results["stages"]["distillation"]["seconds"] > 0 == results["stages"]["deprivatization"]["seconds"]


@pytest.mark.parametrize("with_generator", [True, False])
def test_evaluation_report_and_a_further_replay_work_on_the_result(
    folder: RunFolder, file: Path, tmp_path: Path, with_generator: bool
) -> None:
    out, again = RunFolder(tmp_path / "out"), tmp_path / "again"
    if with_generator:
        replayed(open_source(folder.path), out.path)
    else:
        replayed(open_source(file), out.path, distillation={"image_weight": 0.0, "steps": 8, "evaluate_every": 4})
    assert evaluate(out, None, None, Watcher())["test_images"] == 400
    assert "data:image/png" in write_report(out, None).read_text()
    replayed(open_source(out.path), again)
    assert same_student(out.path, again)
    assert ("inverse_fidelity" in out.results()["pool"]) == (out.results()["generator"] is not None) == with_generator


@pytest.mark.parametrize("budget", [2, 60])
def test_a_prefix_is_learnt_as_if_no_more_had_been_paid(folder: RunFolder, tmp_path: Path, budget: int) -> None:
    whole, cut = open_source(folder.path), tmp_path / "cut"
    results = replayed(whole, cut, budget=budget)
    assert results["config"]["budget"] == results["replayed_from"]["queries"] == results["pool"]["pairs"] == budget
    assert run_pairs(RunFolder(cut)).images.tolist() == whole.pairs.images[:budget].tolist()
    assert sum(stage["queries"] for stage in results["stages"].values()) == budget
    assert not same_student(folder.path, cut)


def test_where_equal_images_were_paid_for_once_the_whole_budget_is_what_there_is(
    folder: RunFolder, tmp_path: Path
) -> None:
    source = open_source(folder.path)
    fewer = replace(source, pairs=source.pairs.first(len(source.pairs) - 1))
    results = replayed(fewer, tmp_path / "out", budget=source.config.budget)
    assert results["pool"]["pairs"] == source.config.budget - 1
    with pytest.raises(InvalidConfig, match="asks for more than"):
        changed(fewer, None, {"budget": source.config.budget + 1})


def test_another_seed_student_or_weight_gives_another_student(folder: RunFolder, tmp_path: Path) -> None:
    source = open_source(folder.path)
    changes: dict[str, dict[str, Any]] = {"seed": {"seed": 5}, "weight": {"distillation": {"image_weight": 0.0}}}
    for name, flags in changes.items():
        results = replayed(source, tmp_path / name, **flags)
        assert not same_student(folder.path, tmp_path / name)
        assert results["replayed_from"]["digest"] == source.pairs.digest()
    results = replayed(source, tmp_path / "student", student="resnet20", distillation={"steps": 2})
    assert results["student"]["architecture"] == "resnet20"


@pytest.mark.parametrize("stop_after", [0, 5])
def test_a_stopped_replay_goes_on_and_ends_as_an_undisturbed_one(
    folder: RunFolder, tmp_path: Path, stop_after: int
) -> None:
    out, steps = tmp_path / "out", list[int]()
    watcher = Watcher(
        should_stop=lambda: len(steps) >= stop_after, on_step=lambda stage, done, *_: steps.append(done)
    )
    with pytest.raises(Stopped, match=f"at step {stop_after} of 12"):
        replayed(open_source(folder.path), out, watcher)
    continued = list[int]()
    replayed(open_source(folder.path), out, Watcher(on_step=lambda stage, done, *_: continued.append(done)))
    assert continued == list(range(stop_after + 1, 13))
    assert same_student(folder.path, out) and not RunFolder(out).state["distillation"].exists()


def test_a_finished_replay_is_returned_as_it_is(folder: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = replayed(open_source(folder.path), out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    moved = tmp_path / "moved"
    shutil.copytree(folder.path, moved)
    assert replayed(open_source(moved), out) == results
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_of_another_replay_or_of_a_run_is_refused_and_so_is_a_replays_to_a_run(
    folder: RunFolder, file: Path, tmp_path: Path
) -> None:
    out, source = tmp_path / "out", open_source(folder.path)
    replayed(source, out)
    for other, flags, words in (
        (source, {"seed": 1}, "seed is 0 there, 1 now"),
        (source, {"budget": 60}, "learns from 100 stored pairs .* not from 60 stored pairs"),
        (open_source(file), {"distillation": {"image_weight": 0.0}}, "not from 100 .* without a generator"),
    ):
        with pytest.raises(RunMismatch, match=words):
            replayed(other, out, **flags)
    with pytest.raises(RunMismatch, match="not from the answers of a teacher"):
        run(small_config(), FreeTeacher(), out)
    with pytest.raises(RunMismatch, match="learns from the answers of a teacher, not from 100"):
        replayed(source, folder.path)
    import_pairs(stored(2), imported := RunFolder(tmp_path / "imported"), "file")
    with pytest.raises(RunMismatch, match="holds imported pairs"):
        replayed(source, imported.path)


def test_a_file_needs_a_generator_or_no_image_term_and_both_ways_out_are_said(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"--generator FILE.*--image-weight 0"):
        replayed(open_source(file), tmp_path / "out", distillation={"image_weight": 0.01})
    assert not (tmp_path / "out").exists()


def test_a_file_of_a_folders_images_needs_the_folder_or_no_consistency_and_both_ways_out_are_said(
    folder: RunFolder, tmp_path: Path
) -> None:
    pairs = run_pairs(folder)
    own = replace(pairs, kind=pairs.kind.model_copy(update={"dataset": FOLDER}))
    transfer_file.save(file := tmp_path / "own.safetensors", own)
    with pytest.raises(UnknownDataset, match=r"--data FOLDER.*--consistency-weight 0"):
        replayed(open_source(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_config_of_a_file_is_the_recipe_of_its_dataset_at_its_size(file: Path) -> None:
    assert open_source(file).config == Config(dataset="digits", response="soft", budget=100)


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        ({"budget": 101}, InvalidConfig, "Budget 101 asks for more than the 100 stored pairs"),
        ({"budget": 1}, InvalidConfig, "'budget'"),
        ({"student": "resnet9"}, InvalidConfig, "no architecture 'resnet9'"),
        ({"student": "torchvision/alexnet"}, InvalidConfig, "alexnet cannot take images of 8x8 pixels"),
        ({"request": 7}, InvalidConfig, "'request' stays as it was"),
        ({"deprivatization": {"steps": 5}}, InvalidConfig, "'deprivatization' stays as it was"),
        ({"seeds": 5}, InvalidConfig, "'seeds'"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_anything_is_written(
    folder: RunFolder, tmp_path: Path, flags: dict[str, Any], error: type[MekdError], words: str
) -> None:
    with pytest.raises(error, match=words):
        replayed(open_source(folder.path), tmp_path / "out", **flags)
    assert not (tmp_path / "out").exists()


def test_a_generator_that_is_missing_or_of_something_else_is_refused(folder: RunFolder, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.safetensors"
    with pytest.raises(InvalidCheckpoint, match="There is no generator at"):
        replayed(open_source(folder.path, wrong), tmp_path / "out")
    card, _ = checkpoints.load(folder.generator, "generator")
    checkpoints.save(wrong, Generator(4, (1, 8, 8), 8), card.model_copy(update={"classes": 4}))
    with pytest.raises(InvalidConfig, match=r"makes images \[1, 8, 8\] of 4 classes.*the generator of their run"):
        replayed(open_source(folder.path, wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_how_far_images_may_move_is_the_configs_or_the_pairs_own_and_else_asked_for(
    folder: RunFolder, tmp_path: Path
) -> None:
    shutil.copytree(folder.path, old := tmp_path / "old")
    with Journal(RunFolder(old).journal) as journal:
        journal.note("pairs", None)
    with pytest.raises(InvalidConfig, match="'shift = 1'"):
        replayed(open_source(old), tmp_path / "out")
    replayed(open_source(old), tmp_path / "one", shift=1)
    replayed(open_source(old), tmp_path / "none", shift=0)
    assert same_student(folder.path, tmp_path / "one") and not same_student(folder.path, tmp_path / "none")


def test_whether_images_may_be_swapped_is_the_configs_or_the_pairs_own(folder: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(folder.path, mirrored := tmp_path / "mirrored")
    with Journal(RunFolder(mirrored).journal) as journal:
        journal.note("pairs", journal.notes()["pairs"] | {"flip": True})
    replayed(open_source(mirrored), tmp_path / "told")
    replayed(open_source(folder.path), tmp_path / "asked", flip=True)
    replayed(open_source(mirrored), tmp_path / "off", flip=False)
    assert same_student(tmp_path / "told", tmp_path / "asked")
    assert same_student(tmp_path / "off", folder.path) and not same_student(tmp_path / "told", folder.path)


def test_the_classes_of_soft_answers_are_what_another_policy_would_have_sold(
    folder: RunFolder, tmp_path: Path
) -> None:
    results = replayed(open_source(folder.path), tmp_path / "out", response="top1")
    assert (results["output"], results["config"]["response"]) == (LABEL, "top1")
    soft, hard = run_pairs(folder), run_pairs(RunFolder(tmp_path / "out"))
    assert (hard.answers == soft.answers.argmax(1)).all() and (hard.images == soft.images).all()
    with pytest.raises(InvalidConfig, match="holds classes alone"):
        changed(open_source(tmp_path / "out"), None, {"response": "soft"})


def test_a_replay_with_the_consistency_term_reads_the_runs_own_images(tmp_path: Path) -> None:
    consistent = {"consistency_weight": 1.0, "consistency_threshold": 0.1}
    folder = finished_run(tmp_path / "run", distillation=consistent)
    replayed(open_source(folder.path), tmp_path / "same")
    assert same_student(folder.path, tmp_path / "same")
    replayed(open_source(folder.path), tmp_path / "without", distillation={"consistency_weight": 0.0})
    assert not same_student(folder.path, tmp_path / "without")


def test_a_file_that_does_not_tell_who_asked_can_be_learnt_from_by_any_method(
    folder: RunFolder, file: Path, tmp_path: Path
) -> None:
    step = {"image_weight": 0.0, "steps": 4, "evaluate_every": 4}
    results = replayed(open_source(file), tmp_path / "dkd", method="dkd", distillation=step)
    assert results["config"]["method"] == "dkd" and results["sends"] == "real"
    with pytest.raises(InvalidConfig, match="Method 'dkd' does not ask what"):
        changed(open_source(folder.path), None, {"method": "dkd", "distillation": step})
    with pytest.raises(InvalidConfig, match="nothing to replay"):
        replayed(open_source(file), tmp_path / "official", method="mekd-official", distillation=step)
