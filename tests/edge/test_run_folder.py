import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge.distillation import predict
from edge.gan import Generator
from edge.official.networks import OfficialGenerator
from edge.run_folder import RunFolder
from shared import architectures, checkpoints, whole_files
from shared.checkpoints import Card
from shared.errors import InvalidCheckpoint, MekdError, RunMismatch
from tests.edge.small import K, small_config

CARD: dict[str, Any] = {"dataset": "digits", "image_shape": (1, 8, 8), "classes": K, "seed": 0}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def student() -> nn.Module:
    return architectures.build("resnet8", channels=1, classes=K)


def test_a_new_folder_is_not_made_by_looking_at_it(folder: RunFolder) -> None:
    folder.check(small_config())
    assert not folder.path.exists()
    folder.claim(small_config())
    folder.check(small_config())
    assert folder.config() == small_config()
    assert contents(folder.path).keys() == {"config.json"}


def test_an_empty_folder_may_be_claimed(folder: RunFolder) -> None:
    folder.path.mkdir()
    folder.check(small_config())


def test_a_folder_whose_first_claim_was_killed_may_be_claimed_again(folder: RunFolder) -> None:
    folder.path.mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        pass
    (folder.path / f".config.json.{killed.pid}").write_text('{"data')
    folder.check(small_config())
    folder.claim(small_config())
    assert contents(folder.path).keys() == {"config.json"} and folder.config() == small_config()


@pytest.mark.parametrize("what", ["a folder with a file", "a file"])
def test_what_belongs_to_somebody_else_is_refused_and_untouched(folder: RunFolder, what: str) -> None:
    theirs = folder.path
    if what == "a folder with a file":
        folder.path.mkdir()
        theirs = folder.path / "thesis.txt"
    theirs.write_text("years of work")
    with pytest.raises(RunMismatch, match=r"run is there already and is no run folder\. Choose another --out"):
        folder.check(small_config())
    assert contents(folder.path.parent) == {str(theirs.relative_to(folder.path.parent)): b"years of work"}


def test_another_configs_folder_is_refused_naming_every_field_that_differs(folder: RunFolder) -> None:
    folder.claim(small_config())
    before = contents(folder.path)
    with pytest.raises(RunMismatch) as caught:
        folder.check(small_config(seed=3, distillation={"temperature": 2.0}))
    said = str(caught.value)
    assert "seed is 0 there, 3 now" in said and "distillation.temperature is 5.0 there, 2.0 now" in said
    assert "Choose another --out" in said and "budget" not in said
    folder.claim(small_config(seed=3))
    assert contents(folder.path) == before


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunMismatch, match=r"run cannot be written: Not a directory\. Choose another --out"):
        RunFolder(tmp_path / "file" / "run").claim(small_config())


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("{", InvalidCheckpoint, "config.json cannot be read"),
        ("[]", InvalidCheckpoint, "config.json does not hold a JSON object"),
        ('{"budget": 1}', RunMismatch, "config.json was not written by this version.*budget"),
        ('{"unknown": 1}', RunMismatch, "config.json was not written by this version.*unknown"),
    ],
)
def test_a_config_that_cannot_be_used_is_named(
    folder: RunFolder, content: str, error: type[MekdError], words: str
) -> None:
    folder.path.mkdir()
    folder.config_file.write_text(content)
    with pytest.raises(error, match=words):
        folder.check(small_config())
    assert contents(folder.path) == {"config.json": content.encode()}


def test_what_is_no_run_folder_or_not_finished_says_how_to_make_one(folder: RunFolder) -> None:
    with pytest.raises(RunMismatch, match=r"no run folder.*mekd-edge distill"):
        folder.config()
    with pytest.raises(RunMismatch, match=r"no results yet.*mekd-edge distill"):
        folder.results()
    assert folder.curves() == {} and not folder.finished()


def test_results_and_curves_come_back(folder: RunFolder) -> None:
    folder.keep_curves("one", {"loss": [(1, 0.5)]})
    folder.keep_curves("two", {"loss": [(1, 0.25)]})
    last = {stage: tuple(curves["loss"][-1]) for stage, curves in folder.curves().items()}
    assert last == {"one": (1, 0.5), "two": (1, 0.25)}
    folder.keep_results({"a": 1})
    assert folder.results() == {"a": 1} and not folder.finished()
    folder.keep_student(student(), "resnet8", CARD)
    assert folder.finished()


@pytest.mark.parametrize("width", [8, 24])
@pytest.mark.parametrize("kind", [Generator, OfficialGenerator])
def test_a_generator_of_any_kind_and_width_comes_back_and_its_state_goes(
    folder: RunFolder, kind: type[Generator], width: int
) -> None:
    generator = kind(K, (1, 8, 8), width).eval()
    for state in folder.state.values():
        whole_files.write_atomically(state, b"state")
    folder.keep_generator(generator, CARD)
    z_NK = torch.randn(5, K)
    assert torch.equal(folder.load_generator()(z_NK), generator(z_NK))
    assert [state.exists() for state in folder.state.values()] == [False, True]


def test_a_student_comes_back_with_its_card_and_its_state_goes(folder: RunFolder) -> None:
    model = student().eval()
    whole_files.write_atomically(folder.state["distillation"], b"state")
    folder.keep_student(model, "resnet8", CARD | {"facts": {"held_out_agreement": 0.5}})
    card, loaded = folder.load_student()
    assert (card.role, card.architecture, card.facts) == ("student", "resnet8", {"held_out_agreement": 0.5})
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), np.uint8)
    assert torch.equal(predict(loaded, images), predict(model, images)) and not loaded.training
    assert not folder.state["distillation"].exists()


def card(**changes: Any) -> Card:
    return Card.model_validate({"role": "student", "architecture": "resnet8"} | CARD | changes)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (card(role="teacher"), "holds a teacher, a student is needed"),
        (card(classes=7), "does not fit the architecture that it names"),
        (card(architecture="resnet20"), "does not fit the architecture that it names"),
        (card(architecture="vgg"), "no architecture 'vgg'"),
    ],
)
def test_a_student_that_is_not_what_it_says_is_refused(folder: RunFolder, wrong: Card, words: str) -> None:
    checkpoints.save(folder.student, student(), wrong)
    with pytest.raises(MekdError, match=words):
        folder.load_student()


@pytest.mark.parametrize(
    ("model", "wrong", "words"),
    [
        (Generator(K, (1, 8, 8), 8), card(role="student"), "holds a student, a generator is needed"),
        (Generator(K, (1, 8, 8), 8), card(role="generator"), "holds no generator of ours"),
        (nn.Linear(1, 1), card(role="generator", architecture="dcgan"), "holds no generator of ours"),
        (Generator(K, (1, 8, 8), 8), card(role="generator", architecture="dcgan", classes=3), "does not fit"),
    ],
)
def test_a_generator_that_is_not_what_it_says_is_refused(
    folder: RunFolder, model: nn.Module, wrong: Card, words: str
) -> None:
    checkpoints.save(folder.generator, model, wrong)
    with pytest.raises(InvalidCheckpoint, match=words):
        folder.load_generator()


def test_corrupt_files_are_named(folder: RunFolder) -> None:
    folder.claim(small_config())
    for path in (folder.student, folder.generator):
        path.write_bytes(b"\0" * 100)
    (folder.path / "results.json").write_text("{")
    (folder.path / "curves.json").write_text(json.dumps([1]))
    for read, name in (
        (folder.load_student, "student.safetensors"),
        (folder.load_generator, "generator.safetensors"),
        (folder.results, "results.json"),
        (folder.curves, "curves.json"),
    ):
        with pytest.raises(InvalidCheckpoint, match=name):
            read()
