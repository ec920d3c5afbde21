"""Every fault in every stage of a run and of its evaluation: was an answer lost, was an image paid twice?

    python -m tests.benchmarks.fault_matrix                 # two minutes on two cores; prints a Markdown table

All faults but one meet the real application with a teacher of known maths, in this process; the one that kills the
server meets a server process with a ResNet-8. Exit code 1 if anything was lost, paid twice, or not completed.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from pydantic import SecretStr

from edge.asking.client import TeacherClient
from edge.distillation import predict
from edge.local_cloud import LocalCloud
from edge.transfer_set.journal import Images
from shared import architectures, checkpoints
from shared.seeding import seed_initial_weights
from tests.chaos_proxy import Fault
from tests.conftest import running
from tests.end_to_end.faulty_runs import STAGES, TIMES, Cloud, Found, cloud_of, meet
from tests.fakes import LinearTeacher
from tests.faults import FAULTS, server_killed


@contextmanager
def mortal_cloud(folder: Path) -> Iterator[tuple[Cloud, Fault]]:
    """A server process, and the fault that kills it; it is started again while the edge waits."""
    seed_initial_weights(0, "teacher of a test")
    teacher = architectures.build("resnet8", channels=1, classes=10).eval()
    card = checkpoints.Card(
        role="teacher", architecture="resnet8", dataset="digits", image_shape=(1, 8, 8), classes=10, seed=0
    )
    checkpoints.save(folder / "teacher.safetensors", teacher, card)
    dead = False

    with LocalCloud(folder / "teacher.safetensors", folder / "ledger.sqlite", threads=1) as process:

        def kill() -> None:
            nonlocal dead
            process.kill()
            dead = True

        def mend() -> None:
            nonlocal dead
            if dead:
                process.restart()
                dead = False

        def make_key(budget: int) -> str:
            name = f"key-{len(list(folder.glob('*.key')))}"
            return process.create_key(name, budget).get_secret_value()

        def spent(key: str) -> int:
            with TeacherClient(process.url, SecretStr(key)) as client:
                usage = client.usage()
            assert usage is not None
            return usage.spent

        def logits(images: Images) -> NDArray[np.float32]:
            answers: NDArray[np.float32] = predict(teacher, images).numpy()
            return answers

        yield Cloud(process.url, make_key, spent, logits, mend), server_killed(kill)


def row(fault: Fault, cloud: Cloud, folder: Path) -> list[Found]:
    """One run for each stage."""
    return [meet(fault, stage, cloud, folder / f"{fault.name}, {stage.__name__}") for stage in STAGES]


def markdown(rows: dict[str, Sequence[Found]]) -> str:
    """The table; a cell is `injected / lost / double-paid, outcome`."""
    head = ["fault", *(stage.__name__.replace("_", " ") for stage in STAGES)]
    lines = [head, ["---"] * len(head)]
    for name, cells in rows.items():
        lines.append([name, *(f"{c.injected} / {c.lost} / {c.double_paid}, {c.outcome}" for c in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the table."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    rows: dict[str, Sequence[Found]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(LinearTeacher(), folder / "ledger.sqlite") as server:
            for fault in FAULTS:
                rows[fault.name] = row(fault, cloud_of(server), folder)
        with mortal_cloud(folder / "process") as (cloud, killed):
            rows[killed.name] = row(killed, cloud, folder)
    cells = [cell for found in rows.values() for cell in found]
    injected, lost, double_paid = (
        sum(c) for c in zip(*((c.injected, c.lost, c.double_paid) for c in cells), strict=True)
    )
    typer.echo(markdown(rows))
    typer.echo(
        f"\nA cell is injected / lost / double-paid, outcome. {len(rows)} faults, {len(cells)} runs: "
        f"{injected} exchanges harmed, {lost} answers lost, {double_paid} images paid twice."
    )
    sound = all((c.injected, c.lost, c.double_paid, c.outcome) == (TIMES, 0, 0, "completed") for c in cells)
    sys.exit(not sound)


if __name__ == "__main__":
    typer.run(main)
