"""A sweep from its grid to its rows: what is there already is not made again, and what fails stops nothing else.

with served(sweep, place...) as place:
    run_sweep(sweep, place, LocalEngine(), ...)
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from edge.asking.link import Link
from edge.config import Config
from edge.experiments.local_cloud import LocalCloud
from edge.images.local_images import LocalImages
from edge.sweep import work
from edge.sweep.display import SweepDisplay
from edge.sweep.engine import Engine
from edge.sweep.grid import Cell, Sweep, preset_of, sorted_out
from edge.sweep.jobs import Job, generators, plan_jobs
from edge.sweep.place import Cloud, Place
from edge.sweep.results import Rows, done, failed_row, row_of
from edge.sweep.tasks import Outcome, Task
from shared import datasets
from shared.errors import InvalidConfig

TEACHER = "teacher of "
"""Begins the names of the tasks that meet one."""


@dataclass(frozen=True)
class SweepPlan:
    """What is to be done."""

    jobs: list[Job]
    """Of all cells that can be made, those that are made already included."""
    refused: dict[Cell, str]
    """Cells that cannot be made, and why."""
    open: list[Job]
    """Without a row yet, or with a failed one."""

    @property
    def queries(self) -> int:
        """That the jobs pay, at most, when none was done yet."""
        return sum(job.queries_paid for job in self.jobs)

    @property
    def queries_alone(self) -> int:
        """That they would pay if each cell asked for itself."""
        return sum(job.config.budget for job in self.jobs)


def plan_sweep(sweep: Sweep, out: Path, data_root: Path | None) -> SweepPlan:
    """Plan it; nothing is asked and nothing written.

    Raises:
        UnknownDataset: no such dataset, or its files are not there.
        InvalidConfig: as `edge.sweep.grid.sorted_out`.
    """
    local = {name: _local(name, data_root) for name in sweep.datasets}
    possible, refused = sorted_out(sweep, local)
    jobs, rows = plan_jobs(possible, local), Rows(out).read()
    return SweepPlan(jobs, refused, [job for job in jobs if not done(rows.get(job.cell.name), job.config)])


@contextmanager
def served(
    sweep: Sweep,
    out: Path,
    data_root: Path | None,
    *,
    server: str | None = None,
    key: SecretStr | None = None,
    evaluation_key: SecretStr | None = None,
    link: Link | None = None,
) -> Iterator[Place]:
    """Every dataset's teacher: that at `server`, or one served here as long as the block lasts.

    Raises:
        InvalidConfig: a dataset without a teacher, or several of them for one server.
        Unreachable: a server did not start.
    """
    if server is not None:
        if len(sweep.datasets) > 1 or sweep.teachers:
            raise InvalidConfig(
                "A server hosts one teacher: sweep one dataset with --server, or give checkpoints with --teacher."
            )
        yield Place(out, data_root, {sweep.datasets[0]: Cloud(server, key, evaluation_key)}, link)
        return
    missing = [name for name in sweep.datasets if name not in sweep.teachers]
    if missing:
        raise InvalidConfig(
            f"Dataset '{missing[0]}' has no teacher. Add --teacher {missing[0]}=CHECKPOINT to serve one here, or "
            "--server URL."
        )
    with ExitStack() as stack:
        clouds = {}
        for name in sweep.datasets:
            ledger = out / name / "ledger.sqlite"
            cloud = stack.enter_context(LocalCloud(sweep.teachers[name], ledger, threads=1))
            clouds[name] = Cloud(cloud.url, teacher=sweep.teachers[name], ledger=ledger)
        yield Place(out, data_root, clouds, link)


def run_sweep(
    sweep: Sweep,
    plan: SweepPlan,
    place: Place,
    engine: Engine,
    display: SweepDisplay,
    should_stop: Callable[[], bool],
) -> None:
    """Make what is open, and write a row for each.

    Raises:
        Stopped: the same call goes on from there.
    """
    rows, jobs = Rows(place.out), {job.cell.name: job for job in plan.open}
    teachers: dict[str, str] = {}

    def on_outcome(outcome: Outcome) -> None:
        job = jobs.get(outcome.name)
        if job is None:
            if outcome.name.startswith(TEACHER) and outcome.error is None:
                teachers[outcome.name.removeprefix(TEACHER)] = outcome.value
            display.prepared(outcome.name, outcome.error)
            return
        row = _row(sweep, job.cell, job.config, teachers, outcome)
        rows.add(row)
        display.made(outcome.name, row)

    engine.run(tasks(plan, place), display.started, on_outcome, should_stop)


def tasks(plan: SweepPlan, place: Place) -> list[Task]:
    """What an engine has to do; cells that are made already do nothing."""
    names = {job.cell.name for job in plan.open}
    shared = generators(job for job in plan.open if job.leader is None)
    meet = [
        Task(TEACHER + name, work.meet_teacher, (place, name))
        for name in sorted({job.cell.dataset for job in plan.open})
    ]
    prepare = [Task(name, work.make_generator, (place, name, job.config)) for name, job in shared.items()]
    students = []
    for job in plan.open:
        after = [TEACHER + job.cell.dataset]
        if job.generator:
            after.append(job.generator)
        if job.leader and job.leader.name in names:
            after.append(job.leader.name)
        students.append(Task(job.cell.name, work.make_student, (place, job), tuple(after)))
    return meet + prepare + students


def _row(sweep: Sweep, cell: Cell, config: Config, teachers: Mapping[str, str], outcome: Outcome) -> dict[str, Any]:
    preset, teacher = preset_of(cell, sweep), teachers.get(cell.dataset, "unknown")
    if outcome.error is not None:
        return failed_row(cell, preset, teacher, config, outcome.error)
    return row_of(cell, preset, teacher, outcome.value)


def _local(name: str, data_root: Path | None) -> LocalImages:
    dataset = datasets.load(name, data_root)
    return LocalImages(dataset.name, dataset.classes, dataset.augmentation, dataset.edge)
