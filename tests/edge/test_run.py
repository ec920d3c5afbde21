import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge.learning import surroundings
from edge.planning.plan import choose_output
from edge.run import run
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Journal
from shared.errors import (
    BudgetTooSmall,
    InvalidConfig,
    MekdError,
    OutputNotAllowed,
    RunMismatch,
    Stopped,
    Unauthorized,
    UnknownDataset,
    Unreachable,
)
from shared.protocol import LABEL, LOGITS, PROBABILITIES
from tests.conftest import LiveServer, Serve
from tests.edge.distilling import a_client, distil
from tests.edge.small import digits, small_config
from tests.fakes import LinearTeacher

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run"


@pytest.mark.parametrize(
    ("policy", "response", "output", "step_1"),
    [
        ("logits", "soft", LOGITS, 30),
        ("probabilities", "soft", PROBABILITIES, 30),
        ("top1", "top1", LABEL, 0),
        ("logits", "top1", LABEL, 0),
        ("probabilities:2", "soft", PROBABILITIES, 30),
        ("top3", "soft", PROBABILITIES, 30),
    ],
)
def test_a_run_spends_its_budget_to_the_last_query_and_accounts_for_it_by_stage(
    live_server: LiveServer, out: Path, policy: str, response: str, output: str, step_1: int
) -> None:
    key, answered = live_server.make_key(name="edge", budget=100, policy=policy), list[int]()
    results = distil(live_server, key, out, small_config(response=response), Watcher(on_answer=answered.append))
    assert results["output"] == output
    with Journal(out / "transfer_set.sqlite") as journal:
        pairs, traffic = journal.transfer_set(), journal.traffic()
        assert live_server.spent(key) == journal.unique_images() == sum(answered) == 100
    stages = results["stages"]
    for name, queries in (("deprivatization", step_1), ("distillation", 100 - step_1)):
        stage = stages[name]
        assert stage["queries"] == stage["queries_planned"] == stage["queries_by_server"] == queries
        assert (stage["bytes_up"] > queries * 64) == (queries > 0)
    assert sum(took["bytes_up"] for took in (*stages.values(), results["bookkeeping"])) == traffic.up
    assert (results["server"]["client"], results["server"]["spent"], results["server"]["budget"]) == (
        "edge",
        100,
        100,
    )
    labels = live_server.teacher.logits(pairs.images).argmax(1)
    assert results["pool"]["answers_by_class"] == np.bincount(labels, minlength=10).tolist()
    assert results == json.loads((out / "results.json").read_text())


def test_a_run_leaves_what_its_folder_promises_and_no_private_image(live_server: LiveServer, out: Path) -> None:
    distil(live_server, live_server.make_key(), out, small_config())
    left = {file.name for file in out.iterdir()} - {"transfer_set.sqlite.lock"}
    assert left == {
        "config.json",
        "curves.json",
        "generator.safetensors",
        "results.json",
        "student.safetensors",
        "tensorboard",
        "transfer_set.sqlite",
    }
    folder = RunFolder(out)
    assert folder.config() == small_config()
    card, _ = folder.load_student()
    agreement = folder.curves()["distillation"]["held-out agreement"]
    assert card.facts["held_out_agreement"] == dict(agreement)[12]  # the only look in the last fifth of 12 steps
    private = {image.tobytes() for image in digits().images}
    with Journal(folder.journal) as journal:
        assert not any(image.tobytes() in private for image in journal.transfer_set().images)


def test_a_finished_run_is_returned_as_it_is_without_a_server(live_server: LiveServer, out: Path) -> None:
    key = live_server.make_key()
    results = distil(live_server, key, out, small_config())
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with a_client(NOBODY, "") as client:
        assert run(small_config(), client, out) == results
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert live_server.spent(key) == 100


def nobody(server: LiveServer) -> tuple[str, str]:
    return NOBODY, ""


def a_wrong_key(server: LiveServer) -> tuple[str, str]:
    return server.url, "mekd_wrong"


def a_revoked_key(server: LiveServer) -> tuple[str, str]:
    key = server.make_key()
    server.revoke(key)
    return server.url, key


def a_poor_key(server: LiveServer) -> tuple[str, str]:
    return server.url, server.make_key(name="poor", budget=99)


def a_top1_key(server: LiveServer) -> tuple[str, str]:
    return server.url, server.make_key(policy="top1")


def a_good_key(server: LiveServer) -> tuple[str, str]:
    return server.url, server.make_key()


@pytest.mark.parametrize(
    ("access", "changes", "error", "words"),
    [
        (nobody, {}, Unreachable, "Nobody answers"),
        (a_wrong_key, {}, Unauthorized, "key"),
        (a_revoked_key, {}, Unauthorized, "key"),
        (
            a_poor_key,
            {},
            BudgetTooSmall,
            r"needs 100 queries, key 'poor' has 99 of 99 left\. Use --budget 99 or less",
        ),
        (a_top1_key, {}, OutputNotAllowed, r"--response soft needs logits or probabilities.*sees only label"),
        (a_good_key, {"student": "resnet9"}, InvalidConfig, "no architecture 'resnet9'"),
        (a_good_key, {"student": "torchvision/alexnet"}, InvalidConfig, "alexnet cannot take images of 8x8 pixels"),
        (a_good_key, {"dataset": "cats"}, UnknownDataset, "no dataset 'cats'"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_asked_or_written(
    live_server: LiveServer,
    out: Path,
    access: Callable[[LiveServer], tuple[str, str]],
    changes: dict[str, Any],
    error: type[MekdError],
    words: str,
) -> None:
    with a_client(*access(live_server)) as client, pytest.raises(error, match=words):
        run(small_config(**changes), client, out)
    assert not out.parent.exists()
    assert live_server.teacher.batches == []


@pytest.mark.parametrize(
    ("shape", "classes", "words"), [((1, 4, 4), 10, "takes .1, 4, 4."), ((1, 8, 8), 7, "10 classes.* 7")]
)
def test_a_teacher_of_other_images_or_classes_is_refused(
    serve: Serve, out: Path, shape: tuple[int, int, int], classes: int, words: str
) -> None:
    server = serve(LinearTeacher(shape, classes))
    with pytest.raises(InvalidConfig, match=words):
        distil(server, server.make_key(), out, small_config())
    assert not out.exists()


def test_the_richest_output_that_the_response_allows_is_chosen(live_server: LiveServer) -> None:
    def chosen(policy: str, response: str) -> str:
        with a_client(live_server.url, live_server.make_key(policy=policy)) as client:
            return choose_output(client.metadata(), small_config(response=response), digits())

    assert [chosen(policy, "soft") for policy in ("logits", "probabilities")] == [LOGITS, PROBABILITIES]
    assert [chosen(policy, "top1") for policy in ("logits", "probabilities", "top1")] == [LABEL] * 3


@pytest.mark.parametrize("spent_elsewhere", [50, 98])
def test_a_budget_that_somebody_else_spends_meanwhile_gives_a_student_from_what_was_paid(
    live_server: LiveServer, out: Path, spent_elsewhere: int
) -> None:
    key, done = live_server.make_key(budget=100), list[int]()

    def spend(stage: str, *_: Any) -> None:
        done.append(1)
        if len(done) == 1:
            with a_client(live_server.url, key) as other:
                other.ask(np.zeros((spent_elsewhere, 1, 8, 8), np.uint8), LOGITS, "another-program")

    results = distil(live_server, key, out, small_config(), Watcher(on_step=spend))
    paid = 100 - spent_elsewhere
    assert live_server.spent(key) == 100
    assert sum(stage["queries"] for stage in results["stages"].values()) == paid == results["pool"]["pairs"]
    assert results["stages"]["distillation"]["queries_planned"] == 70
    RunFolder(out).load_student()
    with a_client(NOBODY, "") as client:
        assert run(small_config(), client, out) == results


def test_a_budget_that_is_gone_before_the_first_answer_is_said_and_the_run_goes_on_once_raised(
    live_server: LiveServer, out: Path
) -> None:
    key, done = live_server.make_key(name="edge", budget=100), list[int]()

    def spend(*_: Any) -> None:
        done.append(1)
        if len(done) == 1:
            with a_client(live_server.url, key) as other:
                other.ask(np.zeros((100, 1, 8, 8), np.uint8), LOGITS, "another-program")

    with pytest.raises(BudgetTooSmall, match="ended after 0 of 100 queries"):
        distil(live_server, key, out, small_config(), Watcher(on_step=spend))
    with pytest.raises(BudgetTooSmall, match="The same command goes on once"):
        distil(live_server, key, out, small_config())
    live_server.ledger.top_up("edge", 100)
    results = distil(live_server, key, out, small_config())
    assert results["stages"]["distillation"]["queries"] > 0
    assert live_server.spent(key) == 100 + results["pool"]["pairs"]


def test_a_folder_of_another_config_is_refused_and_nothing_is_asked(live_server: LiveServer, out: Path) -> None:
    key = live_server.make_key()
    distil(live_server, key, out, small_config())
    with pytest.raises(RunMismatch, match="seed is 0 there, 1 now"):
        distil(live_server, key, out, small_config(seed=1))
    assert live_server.spent(key) == 100


def test_a_teacher_that_was_replaced_is_not_asked_for_the_rest(serve: Serve, out: Path) -> None:
    server, steps = serve(), list[str]()
    watcher = Watcher(should_stop=lambda: len(steps) >= 7, on_step=lambda stage, *_: steps.append(stage))
    with pytest.raises(Stopped):
        distil(server, server.make_key(), out, small_config(), watcher)
    replaced = serve(LinearTeacher(version="other"), ledger_path=out.parent / "other.sqlite")
    key = replaced.make_key()
    with pytest.raises(RunMismatch, match="version is linear in the first, other in the second"):
        distil(replaced, key, out, small_config())
    assert replaced.spent(key) == 0


def test_runs_of_the_same_seed_are_the_same_and_of_another_are_not(live_server: LiveServer, tmp_path: Path) -> None:
    def student(name: str, seed: int) -> dict[str, torch.Tensor]:
        distil(live_server, live_server.make_key(), tmp_path / name, small_config(seed=seed))
        return RunFolder(tmp_path / name).load_student()[1].state_dict()

    one, other, reseeded = student("one", 1), student("other", 1), student("reseeded", 2)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(one[name], reseeded[name]) for name in one)


def test_results_tell_versions_and_of_what_is_not_installed_none() -> None:
    software = surroundings(("numpy", "a-package-of-nobody"))["software"]
    assert software == {"numpy": np.__version__, "a-package-of-nobody": None}
