"""An edge that was killed, at whatever moment, ends after the same command as if nothing had happened.

No moment is guessed: a proxy holds the answer that the edge waits for, a pipe in the place of a file stops it in the
middle of writing, or the edge has just said what it does.
"""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge.run_folder import RunFolder
from edge.transfer_set.journal import Journal
from tests.chaos_proxy import ChaosProxy, Fault
from tests.conftest import LiveServer, running
from tests.end_to_end.edge_process import EdgeProcess, answers, paid
from tests.fakes import LinearTeacher
from tests.faults import LATER_THAN_THE_TIMEOUT, NEVER_DELIVERED

BUDGET, REQUEST, TESTS = 100, 10, 400
STEPS_1, STEPS_2 = 40, 10
CONFIG = f"""
budget = {BUDGET}
request = {REQUEST}
[deprivatization]
steps = {STEPS_1}
batch = 8
width = 8
im_weight = 0.5
im_share = 0.3
[distillation]
image_weight = 0.01
steps = {STEPS_2}
batch = 8
evaluate_every = 5
"""
SIZES = [REQUEST, REQUEST // 2] * 2 + [REQUEST] * 5 + [6, REQUEST, 4]
"""Of the requests: 15 images at step 20 of step 1 and again at step 30, then 56 and 14 of the pool of 70."""
PIPE_BYTES = 4096


@dataclass(frozen=True)
class Ground:
    """What a moment needs: the server behind a proxy, a key, and the folder of a run that is to be killed."""

    server: LiveServer
    proxy: ChaosProxy
    key: str
    config: Path
    folder: RunFolder

    def start(self, command: str = "distill") -> EdgeProcess:
        out = self.folder.path
        flags: list[str | Path] = ["--server", self.proxy.url]
        flags += ["--run", out] if command == "evaluate" else ["--config", self.config, "--out", out]
        return EdgeProcess(command, *flags, key=self.key, said=out.with_suffix(".log"))

    def finish(self, command: str = "distill") -> None:
        edge = self.start(command)
        assert edge.exit_code() == 0, edge.said()


Moment = Callable[[Ground, EdgeProcess], None]
"""Waits for it and kills the edge then."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with running(LinearTeacher(), tmp_path_factory.mktemp("cloud") / "ledger.sqlite") as server:
        yield server


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def whole(server: LiveServer, config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An undisturbed run."""
    folder = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    with ChaosProxy(server.url) as proxy:
        Ground(server, proxy, server.make_key(), config, folder).finish()
    return folder


@pytest.fixture
def ground(server: LiveServer, config: Path, tmp_path: Path) -> Iterator[Ground]:
    with ChaosProxy(server.url) as proxy:
        yield Ground(server, proxy, server.make_key(budget=BUDGET), config, RunFolder(tmp_path / "run"))


def in_step_1(ground: Ground, edge: EdgeProcess) -> None:
    ground.proxy.arm(NEVER_DELIVERED)  # so that it does not get any further
    edge.wait_until(lambda: "deprivatization: " in edge.said())
    assert edge.kill()
    ground.proxy.disarm()
    assert answers(ground.folder.path) == 0


def asking(fault: Fault, after: int) -> Moment:
    """While the edge waits for an answer that does not come, when it has `after` others."""

    def moment(ground: Ground, edge: EdgeProcess) -> None:
        ground.proxy.arm(fault, after=after)
        answered, charged = sum(SIZES[:after]), sum(SIZES[: after + (fault is LATER_THAN_THE_TIMEOUT)])
        edge.wait_until(lambda: ground.proxy.injected[fault.name] > 0 and ground.server.spent(ground.key) == charged)
        assert edge.kill()
        with Journal(ground.folder.journal) as journal:
            assert (journal.queries(), journal.asked()) == (answered, sum(SIZES[: after + 1]))

    return moment


def in_step_2(ground: Ground, edge: EdgeProcess) -> None:
    edge.wait_until(lambda: ground.folder.config_file.exists())
    os.mkfifo(
        ground.folder.path / f".student.safetensors.{edge.pid}"
    )  # which nobody reads: it does not get any further
    edge.wait_until(lambda: "distillation: " in edge.said())
    assert edge.kill()
    assert answers(ground.folder.path) == len(SIZES) and not ground.folder.student.exists()
    ground.folder.state["deprivatization"].write_bytes(b"as if killed between step 1's result and this file's end")


def writing(name: str, stop: bool = False) -> Moment:
    """In the middle of writing that file, which is a pipe that takes one page."""

    def moment(ground: Ground, edge: EdgeProcess) -> None:
        edge.wait_until(lambda: ground.folder.config_file.exists())
        aside = ground.folder.path / f".{name}.{edge.pid}"
        os.mkfifo(aside)
        pipe = os.open(aside, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        if stop:
            edge.signal(signal.SIGINT)
        written = bytearray()

        def has_begun() -> bool:
            with suppress(BlockingIOError):
                written.extend(os.read(pipe, PIPE_BYTES // 2))
            return bool(written)

        edge.wait_until(has_begun)
        assert edge.kill()
        os.close(pipe)
        aside.unlink()
        aside.write_bytes(written)

    return moment


MOMENTS = {
    "in step 1": in_step_1,
    "asking in step 1, not delivered": asking(NEVER_DELIVERED, after=1),
    "asking in step 1, charged": asking(LATER_THAN_THE_TIMEOUT, after=2),
    "asking the pool, not delivered": asking(NEVER_DELIVERED, after=6),
    "asking the pool, charged": asking(LATER_THAN_THE_TIMEOUT, after=len(SIZES) - 1),
    "in step 2": in_step_2,
    "writing the state": writing("deprivatization.state", stop=True),
    "writing the curves": writing("curves.json"),
    "writing the generator": writing("generator.safetensors"),
    "writing the student": writing("student.safetensors"),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(
    whole: RunFolder, ground: Ground, moment: Moment
) -> None:
    moment(ground, ground.start())
    ground.finish()
    for name in ("generator.safetensors", "student.safetensors", "curves.json"):
        assert (ground.folder.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    assert ground.folder.results()["pool"] == whole.results()["pool"]
    assert ground.server.spent(ground.key) == BUDGET and paid(ground.folder.journal) == (BUDGET, BUDGET)
    assert {file.name for file in ground.folder.path.iterdir()} == {file.name for file in whole.path.iterdir()}


@pytest.mark.parametrize("fault", [NEVER_DELIVERED, LATER_THAN_THE_TIMEOUT], ids=lambda fault: fault.name)
def test_an_evaluation_killed_while_it_asks_says_the_same_and_pays_nothing_twice(
    whole: RunFolder, server: LiveServer, ground: Ground, tmp_path: Path, fault: Fault
) -> None:
    undisturbed, killed = (
        replace(ground, key=server.make_key(budget=TESTS), folder=RunFolder(tmp_path / name))
        for name in ("undisturbed", "killed")
    )
    for each in (undisturbed, killed):
        shutil.copytree(whole.path, each.folder.path)
    undisturbed.finish("evaluate")
    ground.proxy.arm(fault, after=3)
    edge = killed.start("evaluate")
    charged = REQUEST * (4 if fault is LATER_THAN_THE_TIMEOUT else 3)
    edge.wait_until(lambda: ground.proxy.injected[fault.name] > 0 and server.spent(killed.key) == charged)
    assert edge.kill()
    assert paid(killed.folder.evaluation_journal) == (3 * REQUEST, 3 * REQUEST)
    killed.finish("evaluate")
    measured = [each.folder.results()["evaluation"] for each in (undisturbed, killed)]
    differing = {name for name in measured[0] if measured[0][name] != measured[1][name]}
    assert differing <= {"bytes_up", "bytes_down", "seconds"}, "a killed process cannot count"
    assert server.spent(killed.key) == TESTS and paid(killed.folder.evaluation_journal) == (TESTS, TESTS)
