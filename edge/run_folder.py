"""The folder of one run: which file is which, and whose run it is.

config.json                  what the run computes; the folder belongs to it
replay.json                  what a replay learns from; a run that asks a teacher has none
transfer_set.sqlite          journal of all questions and answers of the run
evaluation.sqlite            the same for test images, asked with a key of their own
deprivatization.state        step 1 between two starts; gone once the generator is written
generator.safetensors        step 1's result
distillation.state           step 2 between two starts; gone once the student is written
student.safetensors          step 2's result
student-adapted.safetensors  the student with statistics of the device's images, where it was asked for
curves.json                  what was measured while training
results.json                 what came out
tensorboard/                 the curves as event files for TensorBoard, written while the run works
report.html                  the same to look at
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge.config import Config, parse
from edge.deprivatization import STAGE as STEP_1
from edge.distillation import STAGE as STEP_2
from edge.gan import Generator
from edge.official.networks import OfficialGenerator
from edge.training import Curves
from edge.transfer_set.journal import Journal
from shared import architectures, checkpoints, whole_files
from shared.checkpoints import Card
from shared.errors import InvalidCheckpoint, InvalidConfig, RunMismatch

GENERATORS = {kind.architecture: kind for kind in (Generator, OfficialGenerator)}
"""By the name in a checkpoint."""


@dataclass(frozen=True)
class Replayed:
    """What a replay learns from."""

    name: str = field(compare=False)
    """Run folder or transfer file, for people: it may be moved."""
    digest: str
    """Of the pairs, see `StoredPairs.digest`."""
    queries: int
    """Pairs, all of which were paid for once."""
    generator: str | None
    """The sha256 of the generator's file in hexadecimal, None where there is none."""

    def __str__(self) -> str:
        generator = f" with generator {self.generator[:8]}" if self.generator else " without a generator"
        return f"{self.queries} stored pairs {self.digest[:8]}{generator}"

    def document(self) -> dict[str, Any]:
        """All fields, for a JSON file."""
        return asdict(self)


class RunFolder:
    """Paths and contents of a run's folder; nothing is written before `claim`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.json"
        self.replay_file = path / "replay.json"
        self.journal = path / "transfer_set.sqlite"
        self.evaluation_journal = path / "evaluation.sqlite"
        self.generator = path / "generator.safetensors"
        self.student = path / "student.safetensors"
        self.adapted_student = path / "student-adapted.safetensors"
        self.report = path / "report.html"
        self.tensorboard = path / "tensorboard"
        self.state = {STEP_1: path / f"{STEP_1}.state", STEP_2: path / f"{STEP_2}.state"}
        self._curves, self._results = path / "curves.json", path / "results.json"

    def config(self) -> Config:
        """The config that the folder belongs to.

        Raises:
            RunMismatch: this is no run folder, or another version's.
        """
        if not self.config_file.exists():
            raise RunMismatch(
                f"{self.path} is no run folder (it has no config.json). Make one with 'mekd-edge distill'."
            )
        document = _read(self.config_file)
        try:
            return parse(document)
        except InvalidConfig as error:
            raise RunMismatch(f"{self.config_file} was not written by this version. {error}") from None

    def replayed(self) -> Replayed | None:
        """What the folder's student learns from, None where the run asks a teacher."""
        if not self.replay_file.exists():
            return None
        try:
            return Replayed(**_read(self.replay_file))
        except TypeError:
            raise InvalidCheckpoint(f"{self.replay_file} was not written by this version.") from None

    def asks(self) -> bool:
        """Whether it belongs to a run that asks a teacher."""
        return self.config_file.exists() and not self.replay_file.exists()

    def check(self, config: Config, replayed: Replayed | None = None) -> None:
        """Refuse a folder that belongs to another run.

        Raises:
            RunMismatch: names the fields that differ, or what is in the way.
        """
        if self.config_file.exists() or self.replay_file.exists():
            there = self.replayed()
            if there != replayed:
                raise RunMismatch(
                    f"{self.path} learns from {there or 'the answers of a teacher'}, not from "
                    f"{replayed or 'the answers of a teacher'}. Choose another --out."
                )
        if self.config_file.exists():
            different = _differences(self.config().model_dump(), config.model_dump())
            if different:
                listed = "; ".join(f"{name} is {old!r} there, {new!r} now" for name, old, new in different)
                raise RunMismatch(f"{self.path} belongs to another config: {listed}. Choose another --out.")
        else:
            self.check_unclaimed()

    def check_unclaimed(self, flag: str = "--out") -> None:
        """Refuse what is somebody else's; a folder that holds imported pairs and no more is free for any run.

        Raises:
            RunMismatch: names the `flag` to change.
        """
        ours = (self.journal.name, self.replay_file.name)
        if self.path.is_dir():
            claims = (self.config_file, self.replay_file)
            killed = [aside for claim in claims for aside in whole_files.left_aside(claim)]  # while they claimed it
            foreign = any(not file.name.startswith(ours) for file in self.path.iterdir() if file not in killed)
        else:
            foreign = self.path.exists()
        if foreign:
            raise RunMismatch(f"{self.path} is there already and is no run folder. Choose another {flag}.")

    def claim(self, config: Config, replayed: Replayed | None = None) -> None:
        """Make the folder `config`'s, if it is not yet.

        Raises:
            RunMismatch: the folder cannot be written.
        """
        if self.config_file.exists():
            return
        try:
            if replayed is not None:
                whole_files.write_json(self.replay_file, replayed.document())
            whole_files.write_json(self.config_file, config.model_dump())
        except OSError as error:
            raise RunMismatch(f"{self.path} cannot be written: {error.strerror}. Choose another --out.") from None

    def asked(self) -> int:
        """Images that were asked about so far, answered or not."""
        if not self.journal.exists():
            return 0
        with Journal(self.journal) as journal:
            return journal.asked()

    def finished(self) -> bool:
        """True once the student and the results are there."""
        return self.student.exists() and self._results.exists()

    def keep_generator(self, generator: Generator, card: dict[str, Any]) -> None:
        """Write step 1's result; its intermediate state is not needed any more."""
        checkpoints.save(
            self.generator, generator, Card(role="generator", architecture=generator.architecture, **card)
        )
        whole_files.remove(self.state[STEP_1])

    def keep_student(self, student: nn.Module, architecture: str, card: dict[str, Any]) -> None:
        """Write step 2's result; its intermediate state is not needed any more."""
        checkpoints.save(self.student, student, Card(role="student", architecture=architecture, **card))
        whole_files.remove(self.state[STEP_2])

    def keep_adapted_student(self, student: nn.Module, card: Card) -> None:
        """Write an adapted copy of step 2's result beside it."""
        checkpoints.save(self.adapted_student, student, card)

    def load_generator(self) -> Generator:
        """Read back step 1's result, in evaluation mode."""
        return load_generator(self.generator)[1]

    def load_student(self) -> tuple[Card, nn.Module]:
        """Read back step 2's result, in evaluation mode."""
        return load_student(self.student)

    def keep_curves(self, stage: str, curves: Curves) -> None:
        """Write a stage's curves beside the other stages'."""
        whole_files.write_json(self._curves, self.curves() | {stage: curves})

    def curves(self) -> dict[str, Curves]:
        """Curves by stage; empty before the first stage has ended."""
        return _read(self._curves) if self._curves.exists() else {}

    def keep_results(self, results: dict[str, Any]) -> None:
        """Write what came out."""
        whole_files.write_json(self._results, results)

    def results(self) -> dict[str, Any]:
        """What came out.

        Raises:
            RunMismatch: the run has not ended yet.
        """
        if not self._results.exists():
            raise RunMismatch(f"{self.path} holds no results yet. Finish the run with 'mekd-edge distill'.")
        return _read(self._results)


def load_student(path: Path) -> tuple[Card, nn.Module]:
    """Read back step 2's result, adapted or not, from any file, in evaluation mode.

    Raises:
        InvalidCheckpoint: it holds no student.
    """
    card, tensors = checkpoints.load(path, "student")
    student = architectures.build(card.architecture, channels=card.image_shape[0], classes=card.classes)
    checkpoints.restore(student, tensors, path)
    return card, student.eval()


def load_generator(path: Path) -> tuple[Card, Generator]:
    """Read back step 1's result from any file, in evaluation mode.

    Raises:
        InvalidCheckpoint: it holds no generator.
    """
    card, tensors = checkpoints.load(path, "generator")
    width = tensors.get("blocks.0.weight", torch.empty(0)).numel()
    if card.architecture not in GENERATORS or width == 0:
        raise InvalidCheckpoint(f"{path} holds no generator of ours. Choose another run folder.")
    generator = GENERATORS[card.architecture](card.classes, card.image_shape, width)
    checkpoints.restore(generator, tensors, path)
    return card, generator.eval()


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidCheckpoint(f"{path} cannot be read: {error}.") from None
    if not isinstance(document, dict):
        raise InvalidCheckpoint(f"{path} does not hold a JSON object.")
    return document


def _differences(there: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    found = []
    for name in now:
        old, new = there.get(name), now[name]
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append((prefix + name, old, new))
    return found
