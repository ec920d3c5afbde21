"""What an engine told about a sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from edge.sweep.engine import Engine
from edge.sweep.tasks import Outcome, Task
from shared.errors import Stopped


@dataclass
class Told:
    """Starts and outcomes, in the order in which they were told."""

    events: list[str | Outcome] = field(default_factory=list)

    @property
    def outcomes(self) -> dict[str, Outcome]:
        return {event.name: event for event in self.events if isinstance(event, Outcome)}

    def started(self, name: str) -> int:
        """Place of a task's first start."""
        return self.events.index(name)

    def ended(self, name: str) -> int:
        """Place of a task's outcome."""
        return self.events.index(self.outcomes[name])


def run(
    engine: Engine, tasks: Sequence[Task], look: Callable[[], bool] = lambda: False, told: Told | None = None
) -> Told:
    """Run tasks to their end; `look` is asked whether to stop, and may do something to the processes meanwhile."""
    told = told or Told()
    engine.run(tasks, told.events.append, told.events.append, look)
    return told


def run_until(engine: Engine, tasks: Sequence[Task], look: Callable[[], bool]) -> tuple[Told, str]:
    """Run tasks until `look` says to stop, and the message of that."""
    told = Told()
    with pytest.raises(Stopped) as stopped:
        engine.run(tasks, told.events.append, told.events.append, look)
    return told, str(stopped.value)
