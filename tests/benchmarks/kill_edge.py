"""kill -9 at random moments of `distill` and `evaluate`, again and again, and the same command after each.

    python -m tests.benchmarks.kill_edge                 # 50 kills over as many runs as they take
    python -m tests.benchmarks.kill_edge --kills 10

One kill in three follows a Ctrl-C by a few milliseconds, so that it falls into the saving of a state. Every run's
student is compared with an undisturbed one's, byte for byte. Exit code 1 if anything is wrong.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from edge.run_folder import RunFolder
from shared.errors import Stopped
from tests.conftest import LiveServer, running
from tests.end_to_end.edge_process import EdgeProcess, paid
from tests.end_to_end.test_killed_anywhere import BUDGET, CONFIG, TESTS
from tests.fakes import LinearTeacher

KILLS_OF_A_COMMAND = 4
"""At most, so that both commands of a run are killed."""
AFTER_A_STOP = 1 / 3
"""Share of the kills that follow a Ctrl-C."""
STOP_SECONDS = 0.05
RESULTS = ("generator.safetensors", "student.safetensors", "curves.json")


@dataclass
class Soak:
    """Runs that are killed until there were enough kills."""

    server: LiveServer
    root: Path
    kills: int
    rng: random.Random
    found: Counter[str] = field(default_factory=Counter)

    def undisturbed(self) -> tuple[RunFolder, dict[str, float]]:
        """A run, and the seconds that its commands took."""
        EdgeProcess("--help", key="", said=self.root / "help.log").exit_code()  # all that is imported once
        folder, key = RunFolder(self.root / "whole"), self.server.make_key(budget=BUDGET + TESTS)
        seconds = {}
        for command in ("distill", "evaluate"):
            started = time.monotonic()
            edge = self._start(command, folder, key)
            assert edge.exit_code() == 0, edge.said()
            seconds[command] = time.monotonic() - started
        return folder, seconds

    def disturbed(self, whole: RunFolder, seconds: dict[str, float]) -> None:
        """One run and its evaluation, killed as often as they take to end."""
        self.found["runs"] += 1
        folder = RunFolder(self.root / f"run-{self.found['runs']}")
        for command, budget, journal in (
            ("distill", BUDGET, folder.journal),
            ("evaluate", TESTS, folder.evaluation_journal),
        ):
            key = self.server.make_key(budget=budget)
            self._to_the_end(command, folder, key, seconds[command])
            unique, queries = paid(journal)
            self.found["lost"] += budget - unique
            self.found["double-paid"] += max(self.server.spent(key), queries) - unique
        differing = [
            name for name in RESULTS if (folder.path / name).read_bytes() != (whole.path / name).read_bytes()
        ]
        evaluations = [each.results()["evaluation"]["fidelity"] for each in (whole, folder)]
        self.found["differing students"] += bool(differing) or evaluations[0] != evaluations[1]
        left = {file.name for file in folder.path.iterdir()} - {file.name for file in whole.path.iterdir()}
        self.found["files left behind"] += len(left)

    def enough(self) -> bool:
        return sum(count for name, count in self.found.items() if name.startswith("kills")) >= self.kills

    def _to_the_end(self, command: str, folder: RunFolder, key: str, seconds: float) -> None:
        """Start `command` until it has ended; kill it now and then within the `seconds` that it takes."""
        left, code = KILLS_OF_A_COMMAND, None
        while code != 0:
            edge = self._start(command, folder, key)
            if left and not self.enough() and self._killed(edge, seconds):
                left -= 1
                self.found[f"kills of {command}"] += 1
            else:
                code = edge.exit_code()
                # A stop that comes before the program has begun ends the interpreter, which says so elsewhere.
                assert code in (0, Stopped.exit_code) or not edge.said(), (
                    f"{command} ended with {code}: {edge.said()}"
                )

    def _killed(self, edge: EdgeProcess, seconds: float) -> bool:
        """False if it has ended before."""
        if not edge.runs_for(self.rng.uniform(0, seconds)):
            return False
        if self.rng.random() < AFTER_A_STOP:
            with suppress(ProcessLookupError):
                edge.signal(signal.SIGINT)
            edge.runs_for(self.rng.uniform(0, STOP_SECONDS))
        return edge.kill()

    def _start(self, command: str, folder: RunFolder, key: str) -> EdgeProcess:
        config = self.root / "config.toml"
        config.write_text(CONFIG)
        flags: list[str | Path] = ["--run", folder.path]
        if command == "distill":
            flags = ["--config", config, "--out", folder.path]
        said = folder.path.with_suffix(".log")
        return EdgeProcess(command, "--server", self.server.url, *flags, key=key, said=said)


def main(
    kills: Annotated[int, typer.Option(help="How often the edge is killed, in all.")] = 50,
    seed: Annotated[int, typer.Option(help="Decides the moments.")] = 0,
) -> None:
    """Kill the edge at random moments and print what was found."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as name, running(LinearTeacher(), Path(name) / "ledger.sqlite") as server:
        soak = Soak(server, Path(name), kills, random.Random(seed))
        whole, seconds = soak.undisturbed()
        while not soak.enough():
            soak.disturbed(whole, seconds)
    wrong = ("lost", "double-paid", "differing students", "files left behind")
    for what in ("runs", "kills of distill", "kills of evaluate", *wrong):
        typer.echo(f"{what:20}{soak.found[what]:6}")
    sys.exit(any(soak.found[what] for what in wrong))


if __name__ == "__main__":
    typer.run(main)
