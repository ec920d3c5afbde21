import os
import signal

import pytest

from edge.sweep.local import LocalEngine
from edge.sweep.tasks import Outcome, Task
from shared import compute
from shared.errors import InvalidConfig
from tests.edge.sweep import work
from tests.edge.sweep.told import run


def test_a_process_is_used_again_for_the_next_task_even_after_an_exception() -> None:
    tasks = [Task("a", work.pid), Task("b", work.fail, ("no",)), Task("c", work.leave), Task("d", work.pid)]
    outcomes = run(LocalEngine(1), tasks).outcomes
    assert outcomes["a"].value == outcomes["d"].value != os.getpid()


def test_an_idle_process_that_is_killed_is_replaced() -> None:
    outcomes: list[Outcome] = []

    def kill(outcome: Outcome) -> None:
        outcomes.append(outcome)
        os.kill(outcome.value, signal.SIGKILL)

    tasks = [Task(str(number), work.pid) for number in range(4)]
    LocalEngine(1).run(tasks, lambda name: None, kill, lambda: False)
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert len({outcome.value for outcome in outcomes}) == 4


def test_no_process_is_left_when_what_is_told_of_an_outcome_raises() -> None:
    working: list[int] = []

    def refuse(outcome: Outcome) -> None:
        working.append(outcome.value)
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        LocalEngine(1).run([Task("a", work.pid)], lambda name: None, refuse, lambda: False)
    assert not work.lives(*working)


def test_by_default_the_cores_are_used_up_and_not_oversubscribed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT")  # which the tests have set to 1
    cores = compute.usable_cores()
    assert (LocalEngine().workers, LocalEngine().threads) == (cores, 1)
    assert (LocalEngine(threads=cores).workers, LocalEngine(workers=1).threads) == (1, cores)
    assert LocalEngine(workers=cores + 1).threads == LocalEngine(threads=cores + 1).workers == 1
    assert (LocalEngine(3, 5).workers, LocalEngine(3, 5).threads) == (3, 5)


@pytest.mark.parametrize(("workers", "threads"), [(0, None), (None, 0), (-1, 1), (2, -1)])
def test_there_is_no_engine_without_a_worker_or_a_thread(workers: int | None, threads: int | None) -> None:
    with pytest.raises(InvalidConfig, match="at least 1"):
        LocalEngine(workers, threads)


def test_torch_gets_more_than_one_thread_where_a_worker_has_them() -> None:
    assert run(LocalEngine(1, 2), [Task("a", work.threads)]).outcomes["a"].value[:2] == (2, "2")
