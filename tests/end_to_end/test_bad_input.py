"""Every bad input: one clear line on stderr, the documented exit code, no traceback, no folder left behind."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from edge.cli import app, main
from edge.run_folder import RunFolder
from shared import architectures, checkpoints, errors
from shared.checkpoints import Card
from shared.errors import MekdError
from tests.conftest import LiveServer
from tests.edge.small import small_config
from tests.forked import Forked

NOBODY = "http://127.0.0.1:1"


@dataclass
class Case:
    """A server to talk to, a folder to write into, and an environment."""

    server: LiveServer
    folder: Path

    def key(self, **changes: Any) -> str:
        return self.server.make_key(**changes)

    def distill(self, *flags: str | Path, server: str | None = None) -> list[str | Path]:
        return ["distill", "--server", server or self.server.url, "--out", self.folder / "out", *flags]

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def finished(self) -> RunFolder:
        """A run that has ended, whose student is to be spoilt."""
        run = RunFolder(self.folder / "run")
        run.claim(small_config())
        run.keep_results({})
        student = architectures.build("resnet8", channels=1, classes=10)
        run.keep_student(
            student, "resnet8", {"dataset": "digits", "image_shape": (1, 8, 8), "classes": 10, "seed": 0}
        )
        return run


Input = tuple[list[str | Path], str | None]
"""Arguments and key."""


def a_url_without_scheme(case: Case) -> Input:
    return case.distill(server="127.0.0.1:8000"), case.key()


def a_url_with_a_blank(case: Case) -> Input:
    return case.distill(server="http://here or there"), case.key()


def a_dead_server(case: Case) -> Input:
    return case.distill(server=NOBODY), case.key()


def a_wrong_key(case: Case) -> Input:
    return case.distill(), "mekd_wrong"


def a_key_with_a_blank(case: Case) -> Input:
    return case.distill(), "two words"


def a_revoked_key(case: Case) -> Input:
    case.server.revoke(key := case.key())
    return case.distill(), key


def an_expired_key(case: Case) -> Input:
    return case.distill(), case.key(expires=1.0)


def no_key(case: Case) -> Input:
    return case.distill(), None


def a_budget_too_small_for_the_plan(case: Case) -> Input:
    return case.distill("--budget", "2000"), case.key(budget=1999)


def a_hidden_output(case: Case) -> Input:
    return case.distill("--response", "soft"), case.key(policy="top1")


def an_unknown_response(case: Case) -> Input:
    return case.distill("--config", case.write("c.toml", "response = 'hard'")), case.key()


def an_unknown_dataset(case: Case) -> Input:
    return case.distill("--data", "cats"), case.key()


def an_unknown_student(case: Case) -> Input:
    return case.distill("--student", "resnet9"), case.key()


def an_endless_weight(case: Case) -> Input:
    return case.distill("--image-weight", "inf"), case.key()


def nothing_to_learn_from(case: Case) -> Input:
    return case.distill("--image-weight", "0", "--kl-weight", "0"), case.key()


def an_unknown_field(case: Case) -> Input:
    return case.distill("--config", case.write("c.toml", "bugdet = 5")), case.key()


def a_config_that_is_not_toml(case: Case) -> Input:
    return case.distill("--config", case.write("c.toml", "budget 5")), case.key()


def a_missing_config(case: Case) -> Input:
    return case.distill("--config", case.folder / "c.toml"), case.key()


def an_out_folder_below_a_file(case: Case) -> Input:
    return ["distill", "--server", case.server.url, "--out", case.write("file", "") / "out"], case.key()


def somebody_elses_folder(case: Case) -> Input:
    (case.folder / "theirs").mkdir()
    case.write("theirs/thesis.txt", "")
    return ["distill", "--server", case.server.url, "--out", case.folder / "theirs"], case.key()


def another_configs_folder(case: Case) -> Input:
    RunFolder(case.folder / "run").claim(small_config())
    return ["distill", "--server", case.server.url, "--out", case.folder / "run", "--seed", "5"], case.key()


def a_corrupt_student(case: Case) -> Input:
    run = case.finished()
    run.student.write_bytes(run.student.read_bytes()[:1000])
    return ["evaluate", "--run", run.path], None


def a_foreign_student(case: Case) -> Input:
    run = case.finished()
    torch.save({"weight": torch.zeros(3)}, run.student)
    return ["evaluate", "--run", run.path], None


def a_teacher_for_a_student(case: Case) -> Input:
    run = case.finished()
    card = Card(role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0)
    checkpoints.save(run.student, architectures.build("resnet8", channels=1, classes=10), card)
    return ["evaluate", "--run", run.path], None


def a_folder_that_is_no_run(case: Case) -> Input:
    return ["evaluate", "--run", case.folder], None


def a_run_without_results(case: Case) -> Input:
    RunFolder(case.folder / "run").claim(small_config())
    return ["report", "--run", case.folder / "run"], None


def an_evaluation_that_the_key_cannot_pay(case: Case) -> Input:
    return ["evaluate", "--run", case.finished().path, "--server", case.server.url], case.key(budget=10)


def an_image_of_another_size(case: Case) -> Input:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path := case.folder / "nine.png")
    return ["query", path, "--server", case.server.url], case.key()


def an_image_that_is_none(case: Case) -> Input:
    return ["query", case.write("x.png", "no picture"), "--server", case.server.url], case.key()


CASES: list[tuple[Callable[[Case], Input], type[MekdError], str]] = [
    (a_url_without_scheme, errors.InvalidConfig, "Write it like http://127.0.0.1:8000"),
    (a_url_with_a_blank, errors.InvalidConfig, "Write it like http://127.0.0.1:8000"),
    (a_dead_server, errors.Unreachable, "Start the server or correct the URL"),
    (a_wrong_key, errors.Unauthorized, "key"),
    (a_key_with_a_blank, errors.InvalidConfig, "Copy it again"),
    (a_revoked_key, errors.Unauthorized, "key"),
    (an_expired_key, errors.Unauthorized, "key"),
    (no_key, errors.InvalidConfig, "Set MEKD_API_KEY"),
    (a_budget_too_small_for_the_plan, errors.BudgetTooSmall, "Use --budget 1999 or less"),
    (a_hidden_output, errors.OutputNotAllowed, "Use --response top1"),
    (an_unknown_response, errors.InvalidConfig, "'response'"),
    (an_unknown_dataset, errors.UnknownDataset, "Known: digits, mnist"),
    (an_unknown_student, errors.InvalidConfig, "Known: resnet8"),
    (an_endless_weight, errors.InvalidConfig, "'distillation.image_weight'"),
    (nothing_to_learn_from, errors.InvalidConfig, "image_weight and kl_weight are both 0"),
    (an_unknown_field, errors.InvalidConfig, "'bugdet'"),
    (a_config_that_is_not_toml, errors.InvalidConfig, "c.toml is not TOML"),
    (a_missing_config, errors.InvalidConfig, "c.toml cannot be read"),
    (an_out_folder_below_a_file, errors.RunMismatch, "Choose another --out"),
    (somebody_elses_folder, errors.RunMismatch, "Choose another --out"),
    (another_configs_folder, errors.RunMismatch, "seed is 0 there, 5 now"),
    (a_corrupt_student, errors.InvalidCheckpoint, "is not a readable student checkpoint"),
    (a_foreign_student, errors.InvalidCheckpoint, "is not a readable student checkpoint"),
    (a_teacher_for_a_student, errors.InvalidCheckpoint, "holds a teacher, a student is needed"),
    (a_folder_that_is_no_run, errors.RunMismatch, "mekd-edge distill"),
    (a_run_without_results, errors.RunMismatch, "mekd-edge distill"),
    (an_evaluation_that_the_key_cannot_pay, errors.BudgetTooSmall, "give the key a larger budget"),
    (an_image_of_another_size, errors.InvalidImage, "add --resize"),
    (an_image_that_is_none, errors.InvalidImage, "cannot be read as an image"),
]


@pytest.fixture
def case(live_server: LiveServer, tmp_path: Path) -> Case:
    (tmp_path / "input").mkdir()
    return Case(live_server, tmp_path / "input")


@pytest.mark.parametrize(("make", "error", "way_out"), CASES, ids=[make.__name__ for make, _, _ in CASES])
def test_it_is_told_in_one_line_that_holds_a_way_out_and_nothing_is_left_behind(
    case: Case, make: Callable[[Case], Input], error: type[MekdError], way_out: str
) -> None:
    arguments, key = make(case)
    before = {path for path in case.folder.rglob("*") if "evaluation.sqlite" not in path.name}
    env = {"MEKD_API_KEY": key, "MEKD_API_KEY_FILE": None, "MEKD_SERVER_URL": None}
    result = CliRunner().invoke(app, list(map(str, arguments)), env=env)
    assert type(result.exception) is error
    said = str(result.exception)
    assert way_out in said and "\n" not in said
    assert result.stdout == result.stderr == ""  # what is said, `main` says
    assert {path for path in case.folder.rglob("*") if "evaluation.sqlite" not in path.name} == before
    assert key is None or key not in said


@pytest.mark.parametrize(
    "make", [an_unknown_dataset, a_dead_server, a_budget_too_small_for_the_plan, a_corrupt_student]
)
def test_the_program_itself_says_it_and_ends_with_the_documented_code(
    case: Case, make: Callable[[Case], Input]
) -> None:
    error, way_out = next((error, way_out) for made, error, way_out in CASES if made is make)
    arguments, key = make(case)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MEKD_")}
    program = Forked(main, *map(str, arguments), env=env | ({"MEKD_API_KEY": key} if key else {}))
    out, err = program.communicate(120)
    assert (program.returncode, out) == (error.exit_code, "")
    assert err.startswith("Error: ") and way_out in err
    assert err.count("\n") == 1 and "Traceback" not in err
