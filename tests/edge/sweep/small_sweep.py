"""Small sweeps of digits against a real server, one task at a time."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console

from edge.sweep.attempt import attempt
from edge.sweep.display import SweepDisplay
from edge.sweep.engine import OnOutcome, OnStart, ShouldStop
from edge.sweep.grid import Sweep
from edge.sweep.schedule import Schedule
from edge.sweep.sweep import plan_sweep, run_sweep, served
from edge.sweep.tasks import Outcome, Task
from tests.conftest import LiveServer
from tests.edge.small import SMALL

CONFIG: dict[str, Any] = {name: SMALL[name] for name in ("deprivatization", "distillation")}
TEST_IMAGES = 400


class InTurn:
    """An engine without processes of its own."""

    def run(self, tasks: Sequence[Task], on_start: OnStart, on_outcome: OnOutcome, should_stop: ShouldStop) -> None:
        schedule = Schedule(tasks)
        while task := schedule.next():
            on_start(task.name)
            ending = attempt(task.work, task.arguments)
            outcome = Outcome(task.name, ending.value, ending.error, ending.seconds, 1)
            for settled in [outcome, *schedule.settle(outcome)]:
                on_outcome(settled)


def sweep_of(**axes: Any) -> Sweep:
    return Sweep(**{"budgets": [40, 80], "config": CONFIG, **axes})


def settings_of() -> str:
    """The config's sections, as TOML."""
    return "\n".join(
        f"[config.{name}]\n" + "\n".join(f"{field} = {value}" for field, value in section.items())
        for name, section in CONFIG.items()
    )


def made(sweep: Sweep, out: Path, server: LiveServer, key: str, evaluation_key: str | None = None) -> str:
    """Run it, one task at a time; what it said."""
    said = io.StringIO()
    secret = SecretStr(evaluation_key) if evaluation_key else None
    plan = plan_sweep(sweep, out, None)
    with (
        served(sweep, out, None, server=server.url, key=SecretStr(key), evaluation_key=secret) as place,
        SweepDisplay(Console(file=said, width=200), len(plan.open), 1) as display,
    ):
        run_sweep(sweep, plan, place, InTurn(), display, lambda: False)
    return said.getvalue()
