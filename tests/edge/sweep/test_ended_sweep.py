"""A sweep's own process is stopped or killed, as a shell or the system does it, and nothing of it is left."""

import signal
from pathlib import Path

import pytest

from tests.edge.sweep import work
from tests.edge.sweep.sweep_process import INTERRUPTED, SweepProcess, group, python_runs

STOPPED = 130


def test_ctrl_c_in_a_terminal_stops_all_says_what_is_left_and_leaves_no_process(tmp_path: Path) -> None:
    with SweepProcess("local", tmp_path, "pid", "hold", "sleep", "hold") as sweep:
        sweep.wait_until(lambda: len(work.pids(tmp_path, "hold-1", "sleep-2")) == 2)
        sweep.ctrl_c()
        assert sweep.exit_code() == STOPPED
        assert sweep.errors() == (
            "Error: Stopped with 1 of 4 tasks finished. The same command goes on from there.\n"
        )  # and no traceback of anybody
        assert (tmp_path / "hold-1.saved").exists()
        assert "hold-3" not in sweep.said()
        work.wait_until(lambda: group(sweep.pid) == [])


def test_sigterm_for_the_sweep_alone_stops_its_processes_too(tmp_path: Path) -> None:
    with SweepProcess("local", tmp_path, "hold", "sleep") as sweep:
        sweep.wait_until(lambda: len(work.pids(tmp_path, "hold-0", "sleep-1")) == 2)
        sweep.signal(signal.SIGTERM)
        assert sweep.exit_code() == STOPPED
        assert (tmp_path / "hold-0.saved").exists()
        work.wait_until(lambda: group(sweep.pid) == [])


def test_ctrl_c_while_processes_start_prints_no_traceback(tmp_path: Path) -> None:
    with SweepProcess("local", tmp_path, "hold", "sleep", "hold") as sweep:
        sweep.wait_until(lambda: any(map(python_runs, group(sweep.pid))))
        sweep.ctrl_c()
        assert sweep.exit_code() == STOPPED
        assert sweep.errors().startswith("Error: Stopped with 0 of 3") and sweep.errors().count("\n") == 1
        work.wait_until(lambda: group(sweep.pid) == [])


def test_a_second_ctrl_c_ends_at_once_what_does_not_listen(tmp_path: Path) -> None:
    with SweepProcess("local", tmp_path, "deaf", "hold") as sweep:
        sweep.wait_until(lambda: len(work.pids(tmp_path, "deaf-0", "hold-1")) == 2)
        sweep.ctrl_c()
        sweep.wait_until(lambda: "stops" in sweep.said())
        sweep.ctrl_c()
        assert sweep.exit_code() == INTERRUPTED
        work.wait_until(lambda: group(sweep.pid) == [])


@pytest.mark.parametrize("works", [("deaf", "hold"), ("pid", "deaf")], ids=["all-busy", "one-idle"])
def test_processes_of_a_sweep_that_was_killed_end_by_themselves(tmp_path: Path, works: tuple[str, str]) -> None:
    with SweepProcess("local", tmp_path, *works) as sweep:
        busy = [f"{name}-{place}" for place, name in enumerate(works) if name != "pid"]
        sweep.wait_until(lambda: len(work.pids(tmp_path, *busy)) == len(busy))
        sweep.wait_until(lambda: sweep.said().count("None") == works.count("pid"))
        assert len(group(sweep.pid)) > len(works)
        sweep.signal(signal.SIGKILL)
        sweep.exit_code()
        work.wait_until(lambda: group(sweep.pid) == [])
