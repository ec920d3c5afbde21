"""A whole sweep on a Ray cluster of two workers, one of which is killed at work."""

import io
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from pydantic import SecretStr
from rich.console import Console

from edge.sweep.display import SweepDisplay
from edge.sweep.on_ray import RayEngine
from edge.sweep.results import Rows
from edge.sweep.sweep import plan_sweep, run_sweep, served
from tests.conftest import LiveServer
from tests.edge.sweep.small_sweep import made, sweep_of

LEADER, FOLLOWER = "digits/resnet8/kd-soft-80-0", "digits/resnet8/ml-soft-80-0"


def test_a_worker_killed_in_the_middle_of_a_sweep_costs_no_query_and_changes_no_student(
    cluster: str, live_server: LiveServer, tmp_path: Path
) -> None:
    key, out, alone = live_server.make_key(), tmp_path / "on_ray", tmp_path / "in_turn"
    sweep, killed = sweep_of(methods=["kd", "ml"], budgets=[80]), list[int]()
    journal = out / LEADER / "transfer_set.sqlite"

    def kill_once() -> bool:
        if not killed and journal.exists() and (worker := at_work(LEADER)) is not None:
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)
        return False

    plan = plan_sweep(sweep, out, None)
    with (
        served(sweep, out, None, server=live_server.url, key=SecretStr(key)) as place,
        SweepDisplay(Console(file=io.StringIO()), len(plan.open), 2) as display,
    ):
        assert run_sweep(sweep, plan, place, RayEngine(cluster), display, kill_once) == 0
    rows = Rows(out).read()
    assert killed and {name: row["paid"] for name, row in rows.items()} == {LEADER: 80, FOLLOWER: 0}
    assert live_server.spent(key) == 80
    with one_thread():  # as many as each worker has
        made(sweep, alone, live_server, live_server.make_key())
    for cell in (LEADER, FOLLOWER):
        students = [(folder / cell / "student.safetensors").read_bytes() for folder in (out, alone)]
        assert students[0] == students[1]


@contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_work(task: str) -> int | None:
    """The process of the worker that has this task, by the title that Ray gives it."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it has just ended
            if entry.name.isdecimal() and (entry / "cmdline").read_bytes().startswith(f"ray::{task}".encode()):
                return int(entry.name)
    return None
