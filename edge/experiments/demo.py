"""The main job in one command: train a teacher, serve it behind a meter, distil it over HTTP, report.

    python -m edge.experiments.demo --out runs/demo

Everything that a user would do by hand is done here with the same two programs, as processes of their own. The cloud
lives in the folder `<out>.cloud`, where the edge never looks; only the table's line about the teacher's size comes
from there. Ctrl-C stops; the same command goes on.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.console import Console

from edge.local_cloud import LocalCloud
from edge.report.summary import run_table
from edge.run_folder import RunFolder
from shared import architectures, checkpoints, command_line, datasets

console = Console()


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/demo"),
    data: Annotated[str, typer.Option(help="Dataset: digits, mnist.")] = "digits",
    data_root: Annotated[Path | None, typer.Option(help="Folder of datasets that live in files.")] = None,
    teacher: Annotated[str, typer.Option(help="Architecture of the teacher.")] = "resnet20",
    budget: Annotated[int, typer.Option(help="Queries of the edge's key.")] = 2000,
    response: Annotated[str, typer.Option(help="soft or top1; decides the key's policy too.")] = "soft",
    preset: Annotated[str, typer.Option(help="Method with its settings, see edge/README.md.")] = "lq",
    seed: Annotated[int, typer.Option(help="Of teacher and student.")] = 0,
) -> None:
    """Run the whole thread and print one table."""
    started = time.monotonic()
    cloud = Path(f"{out}.cloud")
    checkpoint = cloud / "teacher.safetensors"
    source = ["--data", data] + (["--data-root", str(data_root)] if data_root else [])

    console.rule("cloud: teacher")
    _run(
        "server",
        "train",
        *source,
        "--architecture",
        teacher,
        "--seed",
        str(seed),
        "--out",
        checkpoint,
        "--if-missing",
    )
    with LocalCloud(checkpoint, cloud / "ledger.sqlite", threads=1) as service:
        console.rule(f"edge: distillation from {service.url}")
        policy = "logits" if response == "soft" else "top1"
        key = service.create_key("edge-1", budget, policy)
        asked = ["--budget", str(budget), "--response", response, "--preset", preset, "--seed", str(seed)]
        _run("edge", "distill", "--server", service.url, *source, *asked, "--out", out, "--json", key=key)
        console.rule("edge: evaluation, with a key of its own")
        tests = len(datasets.load(data, data_root).test.labels)
        key = service.create_key("evaluation", tests, policy)
        _run("edge", "evaluate", "--run", out, "--server", service.url, *source[2:], "--quiet", key=key)
    _run("edge", "report", "--run", out, *source[2:])
    console.rule("result")
    card, _ = checkpoints.load(checkpoint, "teacher")
    model = architectures.build(card.architecture, channels=card.image_shape[0], classes=card.classes)
    sizes = {
        f"parameters of the teacher, {card.architecture}": architectures.parameter_count(model),
    }
    console.print(run_table(RunFolder(out).results(), sizes))
    console.print(f"{time.monotonic() - started:.0f} s in all. Look at {out / 'report.html'}.", soft_wrap=True)


def _run(program: str, *arguments: str | Path, key: SecretStr | None = None) -> None:
    """Run one of the two programs; Ctrl-C reaches it too, so wait until it has stopped in its own way.

    With --json it shows progress but no table, and what it prints for programs is not read.
    """
    unread = subprocess.DEVNULL if "--json" in arguments else None
    environment = os.environ | ({"MEKD_API_KEY": key.get_secret_value()} if key else {})
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which a child would inherit
    try:
        command = [sys.executable, "-m", program, *map(str, arguments)]
        code = subprocess.run(command, env=environment, stdout=unread).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise typer.Exit(code)


if __name__ == "__main__":
    command_line.run(lambda: typer.run(demo))
