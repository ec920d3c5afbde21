import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.sweep.on_ray import RayEngine
from edge.sweep.tasks import Task
from shared.errors import InvalidConfig, Unreachable
from tests.edge.sweep import work
from tests.edge.sweep.sweep_process import SweepProcess, group
from tests.edge.sweep.told import run

STOPPED = 130


def test_a_sweep_joins_a_cluster_by_its_address_and_ctrl_c_stops_its_tasks_there(
    cluster: str, tmp_path: Path
) -> None:
    with SweepProcess(cluster, tmp_path, "pid", "hold", "sleep", "hold") as sweep:
        sweep.wait_until(lambda: len(work.pids(tmp_path, "hold-1", "sleep-2")) == 2)
        sweep.ctrl_c()
        assert sweep.exit_code() == STOPPED
        assert "Stopped with 1 of 4 tasks finished. The same command goes on" in sweep.errors()
        assert "Traceback" not in sweep.errors()
        assert (tmp_path / "hold-1.saved").exists()
        outside = work.pids(tmp_path, "hold-1", "sleep-2")
        work.wait_until(lambda: group(sweep.pid) == [] and not any(map(work.lives, outside)))
    assert run(RayEngine(cluster), [Task("a", work.add)]).outcomes["a"].error is None, "the cluster goes on"


def test_a_sweep_with_a_cluster_of_its_own_leaves_nothing_of_it_and_prints_no_word_of_ray_s(tmp_path: Path) -> None:
    with SweepProcess("ray", tmp_path, "die", "hold") as sweep:
        sweep.wait_until(lambda: "WorkerDied" in sweep.said() and len(work.pids(tmp_path, "hold-1")) == 1)
        sweep.signal(signal.SIGTERM)  # which Ray would take for itself
        assert sweep.exit_code() == STOPPED
        assert sweep.errors() == "Error: Stopped with 1 of 2 tasks finished. The same command goes on from there.\n"
        assert (tmp_path / "hold-1.saved").exists()
        assert {line.split()[0] for line in sweep.said().splitlines()} == {"begins", "die-0", "stops"}
        work.wait_until(lambda: group(sweep.pid) == [])


def test_no_task_goes_on_in_the_cluster_of_a_sweep_that_was_killed(tmp_path: Path) -> None:
    with SweepProcess("ray", tmp_path, "hold", "deaf") as sweep:
        sweep.wait_until(lambda: len(work.pids(tmp_path, "hold-0", "deaf-1")) == 2)
        sweep.signal(signal.SIGKILL)
        sweep.exit_code()
        work.wait_until(lambda: not any(map(work.lives, work.pids(tmp_path, "hold-0", "deaf-1"))))


def test_a_cluster_that_is_not_there_is_named_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    program = f"from edge.sweep.on_ray import RayEngine\nRayEngine({address!r}).run([], print, print, bool)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=work.SECONDS)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"{Unreachable.__module__}.{Unreachable.__name__}: No Ray cluster at {address}: ")


def test_without_ray_the_message_says_how_to_get_it() -> None:
    program = (
        "import sys\nsys.modules['ray'] = None\n"
        "from edge.sweep.on_ray import RayEngine\nRayEngine().run([], print, print, bool)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=work.SECONDS)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"{InvalidConfig.__module__}.InvalidConfig") and 'pip install ".[ray]"' in last


@pytest.mark.usefixtures("cluster")
def test_tasks_that_no_machine_of_the_cluster_has_cpus_for_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="has 3 CPUs for a task: 2 at most"):
        run(RayEngine(threads=3), [Task("a", work.add)])


@pytest.mark.usefixtures("cluster")
def test_tasks_with_two_threads_run_one_at_a_time_on_two_cpus() -> None:
    told = run(RayEngine(threads=2), [Task("a", work.threads), Task("b", work.threads)])
    assert [told.outcomes[name].value[:2] for name in "ab"] == [(2, "2")] * 2
    assert told.ended("a") < told.started("b")
