"""A sweep from its grid to its rows: what is there already is not made again, and what fails stops nothing else.

with served(sweep, place...) as place:
    run_sweep(sweep, place, LocalEngine(), ...)
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.asking.link import Link
from edge.images.local_images import named_images
from edge.local_cloud import LocalCloud
from edge.run_folder import RunFolder
from edge.sweep import work
from edge.sweep.display import SweepDisplay
from edge.sweep.engine import Engine
from edge.sweep.grid import Cell, Sweep, sorted_out, track_of
from edge.sweep.growing import inherited
from edge.sweep.jobs import Job, generators, plan_jobs
from edge.sweep.place import Cloud, Place
from edge.sweep.results import Rows, done, failed_row, row_of
from edge.sweep.tasks import Outcome, Task
from shared import architectures
from shared.errors import BudgetTooSmall, InvalidConfig, MekdError

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
    paid: int
    """Queries that the rows of those made already paid."""

    @property
    def queries_left(self) -> int:
        """That the open jobs pay, at most."""
        return sum(job.queries_paid for job in self.open)

    @property
    def queries_alone(self) -> int:
        """That all would pay if each cell asked for itself."""
        return sum(job.config.budget for job in self.jobs)


def plan_sweep(sweep: Sweep, out: Path, data_root: Path | None) -> SweepPlan:
    """Plan it; nothing is asked and nothing written.

    Raises:
        UnknownDataset: no such dataset, or its files are not there.
        InvalidConfig: as `edge.sweep.grid.sorted_out`; or no such student, or one that needs larger images.
        RunMismatch: `out` holds a run of one of the cells with another config.
    """
    local = {name: named_images(name, data_root) for name in sweep.datasets}
    for images, name in itertools.product(local.values(), sweep.students):
        student = architectures.build(name, channels=images.image_shape[0], classes=images.classes)
        architectures.check_size(student, name, images.image_shape)
    possible, refused = sorted_out(sweep, local)
    rows = Rows(out).read()
    made = {cell.name for cell, config in possible.items() if done(rows.get(cell.name), config)}
    asked = {cell.name for cell in possible if RunFolder(out / cell.name).asks()}
    jobs = plan_jobs(possible, local, made, asked)
    to_do = [job for job in jobs if job.cell.name not in made]
    for job in to_do:
        folder = RunFolder(out / job.cell.name)
        folder.check(job.config, folder.replayed() if job.leader else None)
    return SweepPlan(jobs, refused, to_do, sum(rows[name]["paid"] for name in made))


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
) -> int:
    """Make what is open, and write a row for each; how many could not be made.

    Raises:
        Stopped: the same call goes on from there.
        RunMismatch: another process makes a sweep in this folder.
    """
    rows, jobs = Rows(place.out), {job.cell.name: job for job in plan.open}
    good = {name for name, row in rows.read().items() if row["status"] == "ok"}
    teachers: dict[str, str] = {}
    failed: set[str] = set()

    def on_outcome(outcome: Outcome) -> None:
        job = jobs.get(outcome.name)
        if job is None:
            if outcome.name.startswith(TEACHER) and outcome.error is None:
                teachers[outcome.name.removeprefix(TEACHER)] = outcome.value
            display.prepared(outcome.name, outcome.error)
            return
        row = _row(sweep, job, teachers, outcome, place)
        # Who never met the teacher is no row's; and what was made before does not become worse by a failure now.
        if job.cell.dataset in teachers and (outcome.error is None or job.cell.name not in good):
            rows.add(row)
        failed.update([job.cell.name] if outcome.error else [])
        display.made(outcome.name, row)

    with rows.locked():
        try:
            engine.run(tasks(plan, place), display.started, on_outcome, should_stop)
        finally:
            rows.write_parquet()  # of what there is, also after Ctrl-C
    return len(failed)


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


def check_keys(plan: SweepPlan, place: Place) -> None:
    """Refuse what the key that all runs share cannot pay; keys of our own have what they need.

    Raises:
        BudgetTooSmall: says what is needed and what is left.
        ApiError, Unreachable: the server refuses the key, or is away.
    """
    for dataset, cloud in place.clouds.items():
        if cloud.key is None:
            continue
        leaders = [job for job in plan.open if job.leader is None]
        needed = sum(_left_to_pay(job, place) for job in leaders)
        with TeacherClient(cloud.url, cloud.key) as teacher:
            usage = teacher.usage()
        if usage and needed > usage.remaining:
            raise BudgetTooSmall(
                f"The sweep of '{dataset}' needs {needed} queries, key '{usage.client}' has {usage.remaining} of "
                f"{usage.budget} left. Take smaller or fewer budgets, seeds or methods, or have its budget raised."
            )


def _left_to_pay(job: Job, place: Place) -> int:
    """At most; all of it where the journal does not tell, which is that job's failure."""
    folder = place.folder(job.cell)
    try:
        return job.config.budget - folder.asked() if folder.asks() else job.queries_paid
    except MekdError:
        return job.config.budget


def _paid_for(job: Job, place: Place) -> int:
    """Images that the job has paid for so far; 0 where its journal does not tell, which is that job's failure."""
    folder = place.folder(job.cell)
    try:
        return folder.asked() - inherited(folder) if job.leader is None else 0
    except MekdError:
        return 0


def _row(sweep: Sweep, job: Job, teachers: Mapping[str, str], outcome: Outcome, place: Place) -> dict[str, Any]:
    track, teacher = track_of(job.config, sweep), teachers.get(job.cell.dataset, "unknown")
    if outcome.error is not None:
        return failed_row(job.cell, track, teacher, job.config, _paid_for(job, place), outcome.error)
    return row_of(job.cell, track, teacher, outcome.value)
