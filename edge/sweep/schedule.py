"""Which task may start: all before it have succeeded."""

import heapq
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from edge.sweep.tasks import Outcome, Task
from shared.errors import InvalidConfig


class Schedule:
    """Tasks in the order given, as far as what they wait for allows it.

    Raises:
        InvalidConfig: two tasks of one name, a task that waits for one that is not there, or tasks that wait for
            each other.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        self._place = {task.name: place for place, task in enumerate(tasks)}
        self._sorter: TopologicalSorter[str] = TopologicalSorter()
        self._ready: list[int] = []
        self._errors: dict[str, str] = {}
        self.settled = 0
        """Tasks whose outcome is known."""
        if len(self._place) < len(tasks):
            raise InvalidConfig(f"{len(tasks)} tasks have {len(self._place)} names. Give each its own.")
        for task in tasks:
            if unknown := [name for name in task.after if name not in self._place]:
                raise InvalidConfig(f"{task.name} waits for {unknown[0]}, which is no task of this sweep.")
            self._sorter.add(task.name, *task.after)
        try:
            self._sorter.prepare()
        except CycleError as error:
            raise InvalidConfig(f"These tasks wait for each other: {', '.join(error.args[1])}.") from None
        self._release()

    @property
    def complete(self) -> bool:
        """True once all outcomes are known."""
        return self.settled == len(self._tasks)

    def next(self) -> Task | None:
        """The first task that may start and was not taken yet; None if there is none for now."""
        return self._tasks[heapq.heappop(self._ready)] if self._ready else None

    def put_back(self, task: Task) -> None:
        """Let a task that was taken be taken again."""
        heapq.heappush(self._ready, self._place[task.name])

    def settle(self, outcome: Outcome) -> list[Outcome]:
        """Take the outcome of a task that was taken; the outcomes of those that now can never start."""
        if outcome.error is not None:
            self._errors[outcome.name] = f"{outcome.name} failed: {outcome.error}"
        self._done(outcome.name)
        return self._release()

    def _release(self) -> list[Outcome]:
        lost = []
        while names := self._sorter.get_ready():
            for name in names:
                place = self._place[name]
                reasons = [self._errors[before] for before in self._tasks[place].after if before in self._errors]
                if reasons:
                    self._errors[name] = reasons[0]  # the task that failed, not those between
                    lost.append(Outcome(name, error=reasons[0]))
                    self._done(name)
                else:
                    heapq.heappush(self._ready, place)
        return lost

    def _done(self, name: str) -> None:
        self._sorter.done(name)
        self.settled += 1
