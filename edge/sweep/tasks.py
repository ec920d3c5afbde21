"""What an engine is given, and what it says about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """A call of `work` in another process.

    It may be called again after it was stopped or its process died, and then goes on from what it has stored. Asked
    for a stop (`edge.stopping.stop_on_signal`), it stores its state and raises `Stopped`.
    """

    name: str
    """Unique among the tasks of a sweep."""
    work: Callable[..., Any]
    """A function at the top level of a module, where other processes find it."""
    arguments: tuple[Any, ...] = ()
    """What it is called with; what pickle can carry, as is the value it returns."""
    after: tuple[str, ...] = ()
    """Names of the tasks that must have succeeded before."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended: with a value, or with an error."""

    name: str
    value: Any = None
    """What the function returned."""
    error: str | None = None
    """Class and message, `BudgetTooSmall: ...`, never a traceback; None for success."""
    seconds: float = 0.0
    """What the last attempt took."""
    attempts: int = 0
    """How often the task was started; 0 if a task before it failed."""
