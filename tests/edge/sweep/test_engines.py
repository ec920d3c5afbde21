import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from edge.sweep.tasks import Outcome, Task
from shared.errors import InvalidConfig
from tests.edge.sweep import work
from tests.edge.sweep.conftest import MakeEngine
from tests.edge.sweep.told import run, run_until

DIED = "WorkerDied: the process that worked on it died in each of 3 attempts"


def test_values_come_back_and_no_task_starts_before_those_it_waits_for(engine: MakeEngine) -> None:
    tasks = [
        Task("sum", work.add, (1, 10), after=("left", "right")),
        Task("left", work.add, (1, 2), after=("root",)),
        Task("right", work.add, (3, 4), after=("root",)),
        Task("root", work.add),
    ]
    told = run(engine(), tasks)
    assert {name: outcome.value for name, outcome in told.outcomes.items()} == {
        "root": 0,
        "left": 3,
        "right": 7,
        "sum": 11,
    }
    assert all(outcome.attempts == 1 and outcome.error is None for outcome in told.outcomes.values())
    for task in tasks:
        assert all(told.ended(before) < told.started(task.name) for before in task.after)


def test_an_exception_fails_what_waits_for_it_and_nothing_else(engine: MakeEngine) -> None:
    tasks = [
        Task("pool-3", work.fail, ("5 queries left",)),
        Task("kl-3", work.add, after=("pool-3",)),
        Task("table-3", work.add, after=("kl-3", "other")),
        Task("other", work.add, (2, 2)),
        Task("gone", work.leave),
        Task("last", work.add, after=("other",)),
    ]
    told = run(engine(), tasks)
    assert {name: outcome.error for name, outcome in told.outcomes.items()} == {
        "pool-3": "BudgetTooSmall: 5 queries left",
        "kl-3": "pool-3 failed: BudgetTooSmall: 5 queries left",
        "table-3": "pool-3 failed: BudgetTooSmall: 5 queries left",
        "other": None,
        "gone": "SystemExit: 1",
        "last": None,
    }
    assert told.outcomes["pool-3"].attempts == 1 and told.outcomes["kl-3"].attempts == 0
    assert "kl-3" not in told.events


def test_what_cannot_be_sent_to_a_process_or_back_fails_alone(engine: MakeEngine) -> None:
    told = run(
        engine(), [Task("there", work.add, (threading.Lock(),)), Task("back", work.a_lock), Task("good", work.add)]
    )
    assert "TypeError" in str(told.outcomes["there"].error)
    assert "pickle" in str(told.outcomes["back"].error)
    assert told.outcomes["good"] == Outcome("good", 0, None, told.outcomes["good"].seconds, 1)


def test_a_process_killed_at_work_costs_one_attempt_and_leaves_the_others_alone(
    engine: MakeEngine, tmp_path: Path
) -> None:
    killed: list[int] = []

    def look() -> bool:
        now = work.pids(tmp_path, "victim", "innocent")
        if len(now) == 2 and not killed:
            killed.extend(now)
            os.kill(now[0], signal.SIGKILL)
        elif killed and now != killed:  # it works again
            (tmp_path / "release").touch()
        return False

    tasks = [Task(name, work.hold, (tmp_path, name)) for name in ("victim", "innocent")]
    outcomes = run(engine(), [*tasks, Task("next", work.add, after=("victim",))], look).outcomes
    assert outcomes["victim"].error is None and outcomes["victim"].attempts == 2
    assert outcomes["victim"].value not in killed
    assert outcomes["innocent"].value == killed[1] and outcomes["innocent"].attempts == 1
    assert outcomes["next"].error is None


def test_a_task_that_kills_its_process_once_succeeds_and_one_that_always_does_fails(
    engine: MakeEngine, tmp_path: Path
) -> None:
    tasks = [
        Task("always", work.die),
        Task("once", work.die_once, (tmp_path / "marker",)),
        Task("after", work.add, after=("always",)),
        Task("other", work.add),
    ]
    told = run(engine(), tasks)
    assert told.outcomes["once"].value == "survived" and told.outcomes["once"].attempts == 2
    assert str(told.outcomes["always"].error).startswith(DIED) and told.outcomes["always"].attempts == 3
    assert str(told.outcomes["after"].error).startswith(f"always failed: {DIED}")
    assert told.outcomes["other"].error is None
    assert told.events.count("always") == 3


def test_a_stop_lets_running_tasks_store_their_state_starts_no_other_and_can_be_gone_on_from(
    engine: MakeEngine, tmp_path: Path
) -> None:
    tasks = [Task("first", work.add)]
    tasks += [Task(name, work.hold, (tmp_path, name), ("first",)) for name in ("a", "b", "queued")]
    told, message = run_until(engine(), tasks, lambda: len(work.pids(tmp_path, "a", "b")) == 2)
    assert message == "Stopped with 1 of 4 tasks finished. The same command goes on from there."
    assert [*told.outcomes] == ["first"]
    assert {path.stem for path in tmp_path.glob("*.saved")} == {"a", "b"}
    assert "queued" not in told.events
    (tmp_path / "release").touch()
    assert all(outcome.error is None for outcome in run(engine(), tasks).outcomes.values())


def test_a_stop_before_the_first_task_starts_nothing(engine: MakeEngine) -> None:
    told, message = run_until(engine(), [Task("a", work.add)], lambda: True)
    assert told.events == [] and "0 of 1 tasks" in message


def test_a_stop_interrupts_work_that_does_not_listen_and_kills_what_does_not_end(
    engine: MakeEngine, tmp_path: Path
) -> None:
    tasks = [Task("sleep", work.sleep, (tmp_path, "sleep")), Task("deaf", work.deaf, (tmp_path, "deaf"))]
    told, message = run_until(engine(grace=3.0), tasks, lambda: len(work.pids(tmp_path, "sleep", "deaf")) == 2)
    assert "0 of 2 tasks finished. 1 did not stop within 3 s and were killed." in message
    assert told.outcomes == {}
    work.wait_until(lambda: not work.lives(*work.pids(tmp_path, "deaf")))


def test_work_that_somebody_else_stops_is_tried_again(engine: MakeEngine, tmp_path: Path) -> None:
    stopped: list[int] = []

    def look() -> bool:
        if not stopped and work.pids(tmp_path, "a"):
            stopped.extend(work.pids(tmp_path, "a"))
            os.kill(stopped[0], signal.SIGTERM)
        elif (tmp_path / "a.saved").exists():
            (tmp_path / "release").touch()
        return False

    outcome = run(engine(), [Task("a", work.hold, (tmp_path, "a"))], look).outcomes["a"]
    assert outcome.error is None and outcome.attempts == 2


def test_torch_and_whoever_asks_for_all_threads_get_those_of_the_engine(engine: MakeEngine) -> None:
    assert run(engine(), [Task("a", work.threads)]).outcomes["a"].value == (1, "1", 1)


def test_tasks_that_wait_for_each_other_are_refused_before_any_starts(engine: MakeEngine) -> None:
    with pytest.raises(InvalidConfig, match="wait for each other"):
        run(engine(), [Task("c", work.add), Task("a", work.add, after=("b",)), Task("b", work.add, after=("a",))])


@pytest.mark.parametrize("options", [{"attempts": 0}])
def test_numbers_below_one_are_refused(engine: MakeEngine, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match="at least 1"):
        engine(**options)
