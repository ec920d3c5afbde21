import pytest

from edge.sweep.schedule import Schedule
from edge.sweep.tasks import Outcome, Task
from shared.errors import InvalidConfig
from tests.edge.sweep.work import add


def task(name: str, *after: str) -> Task:
    return Task(name, add, after=after)


def taken(schedule: Schedule) -> list[str]:
    names = []
    while found := schedule.next():
        names.append(found.name)
    return names


def test_tasks_are_taken_in_the_order_given_as_far_as_what_they_wait_for_allows() -> None:
    schedule = Schedule([task("a", "c"), task("b"), task("c"), task("d", "b", "c"), task("e")])
    assert taken(schedule) == ["b", "c", "e"]
    assert schedule.settle(Outcome("c")) == []
    assert taken(schedule) == ["a"]
    schedule.settle(Outcome("b"))
    assert taken(schedule) == ["d"]


def test_a_task_that_is_put_back_goes_before_later_ones() -> None:
    tasks = [task("a"), task("b")]
    schedule = Schedule(tasks)
    assert schedule.next() == tasks[0]
    schedule.put_back(tasks[0])
    assert taken(schedule) == ["a", "b"]


def test_a_failure_settles_all_that_wait_for_it_and_names_the_task_that_failed() -> None:
    schedule = Schedule([task("pool-3"), task("a", "pool-3"), task("b", "a"), task("c")])
    taken(schedule)
    reason = "pool-3 failed: BudgetTooSmall: 5 left"
    lost = schedule.settle(Outcome("pool-3", error="BudgetTooSmall: 5 left"))
    assert lost == [Outcome("a", error=reason), Outcome("b", error=reason)]
    assert schedule.settled == 3 and not schedule.complete
    schedule.settle(Outcome("c"))
    assert schedule.complete


def test_a_task_that_waits_for_a_failed_and_for_a_running_one_is_settled_once_and_never_taken() -> None:
    schedule = Schedule([task("bad"), task("slow"), task("both", "slow", "bad")])
    taken(schedule)
    lost = schedule.settle(Outcome("bad", error="OSError: disk"))
    assert lost == []
    assert schedule.settle(Outcome("slow")) == [Outcome("both", error="bad failed: OSError: disk")]
    assert taken(schedule) == [] and schedule.complete


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task("a"), task("a")], "2 tasks have 1 names"),
        ([task("a", "pool")], "a waits for pool, which is no task"),
        ([task("a", "b"), task("b", "a")], "wait for each other: .*a.*b"),
        ([task("a", "a")], "wait for each other: a, a"),
    ],
)
def test_tasks_that_do_not_fit_together_are_refused(tasks: list[Task], message: str) -> None:
    with pytest.raises(InvalidConfig, match=message):
        Schedule(tasks)


def test_no_tasks_are_complete_from_the_start() -> None:
    assert Schedule([]).complete
