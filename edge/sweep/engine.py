"""What runs tasks, and how: one way to retry, to fail and to stop, whatever the processes are."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from edge.sweep.attempt import Ending, How, described
from edge.sweep.schedule import Schedule
from edge.sweep.tasks import Outcome, Task
from shared.errors import Stopped

ATTEMPTS = 3
GRACE_SECONDS = 60.0
"""Between two steps a task looks whether it should stop; a step, an answer or an evaluation takes less than this."""
LOOK_SECONDS = 0.1
ASK_SECONDS = 1.0
"""A request that came before the work had begun to listen is made again after this time."""

OnStart = Callable[[str], None]
OnOutcome = Callable[[Outcome], None]
ShouldStop = Callable[[], bool]


class Engine(Protocol):
    """Runs the tasks of a sweep."""

    def run(self, tasks: Sequence[Task], on_start: OnStart, on_outcome: OnOutcome, should_stop: ShouldStop) -> None:
        """Run all tasks, each once those in its `after` have succeeded, the earlier ones first.

        A task that raises fails, and with it what waits for it; the others go on. A task whose process died is
        started again. All calls back come from the thread that called.

        Args:
            tasks: at most one of each name.
            on_start: called with a task's name at every attempt.
            on_outcome: called once for each task that succeeded or failed.
            should_stop: asked some times a second.

        Raises:
            Stopped: `should_stop` said so; what ran has stored its state, and no process is left.
            InvalidConfig: the tasks do not fit together, or the engine cannot be had.
        """


class Workers(Protocol):
    """Processes that an engine has for attempts at tasks."""

    def free(self) -> bool:
        """True if another task may start."""

    def start(self, task: Task) -> None:
        """Begin an attempt.

        Raises:
            OSError: no process can be had.
            Exception: this task cannot be sent to another process.
        """

    def endings(self, seconds: float) -> Iterable[tuple[Task, Ending]]:
        """The attempts that have ended; waits for the first of them, but not longer than `seconds`."""

    def ask_to_stop(self) -> None:
        """Ask all that work to stop; may be called again."""


def drive(
    tasks: Sequence[Task],
    workers: Workers,
    on_start: OnStart,
    on_outcome: OnOutcome,
    should_stop: ShouldStop,
    *,
    attempts: int,
    grace: float,
) -> None:
    """`Engine.run` with these workers.

    Raises:
        Stopped: after at most `grace` seconds; what works still then is left for the caller to kill.
    """
    schedule = Schedule(tasks)
    tried: Counter[str] = Counter()
    working: set[str] = set()

    def take(task: Task, ending: Ending) -> None:
        working.discard(task.name)
        # An error may come from being stopped; if not, the next start shows it.
        if ending.how is How.RETURNED or not should_stop():
            settle(task, ending)

    def settle(task: Task, ending: Ending) -> None:
        again = ending.how in (How.DIED, How.STOPPED)
        if again and tried[task.name] < attempts:
            schedule.put_back(task)
            return
        error = _lost(ending, attempts) if again else ending.error
        outcome = Outcome(task.name, ending.value, error, ending.seconds, tried[task.name])
        for settled in [outcome, *schedule.settle(outcome)]:
            on_outcome(settled)

    while not schedule.complete and not should_stop():
        while workers.free() and (task := schedule.next()):
            tried[task.name] += 1
            working.add(task.name)
            on_start(task.name)
            try:
                workers.start(task)
            except OSError:
                raise
            except Exception as error:
                take(task, Ending(How.RAISED, error=described(error)))
        for task, ending in workers.endings(LOOK_SECONDS):
            take(task, ending)

    asked = -math.inf
    deadline = time.monotonic() + grace
    while working and time.monotonic() < deadline:
        if time.monotonic() - asked > ASK_SECONDS:
            asked = time.monotonic()
            workers.ask_to_stop()
        for task, ending in workers.endings(LOOK_SECONDS):
            take(task, ending)
    if not schedule.complete:
        killed = f" {len(working)} did not stop within {grace:g} s and were killed." if working else ""
        raise Stopped(
            f"Stopped with {schedule.settled} of {len(tasks)} tasks finished.{killed} "
            "The same command goes on from there."
        )


def _lost(ending: Ending, attempts: int) -> str:
    if ending.how is How.STOPPED:
        return f"Stopped: somebody stopped it, and not the sweep, in each of {attempts} attempts."
    return (
        f"WorkerDied: the process that worked on it died in each of {attempts} attempts. If the system killed it for "
        "want of memory, try fewer workers."
    )
