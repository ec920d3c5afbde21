"""The stored pairs of a run folder: read from its journal, and put into it where another run paid for them."""

from pathlib import Path

import numpy as np
from pydantic import ValidationError

from edge.asking.oracle import REQUEST_BYTES
from edge.asking.wire_bytes import Traffic
from edge.distillation import STAGE as STEP_2
from edge.run_folder import RunFolder
from edge.transfer_set import transfer_file
from edge.transfer_set.journal import Journal, TransferSet
from edge.transfer_set.stored_pairs import IMPORTED, Kind, StoredPairs, new_pairs, paid_once
from shared import checkpoints
from shared.errors import InvalidCheckpoint, RunMismatch
from shared.protocol import LABEL

NOTE = "pairs"
"""Name of the journal's note that holds the `Kind` of its pairs."""


def read_pairs(path: Path) -> StoredPairs:
    """The pairs of a run folder or of a transfer file.

    Raises:
        RunMismatch: a folder without answers.
        InvalidCheckpoint: not readable as either.
    """
    return run_pairs(RunFolder(path)) if path.is_dir() else transfer_file.load(path)


def run_pairs(folder: RunFolder) -> StoredPairs:
    """All pairs that the folder's journal has answers to, imported ones too.

    Raises:
        RunMismatch: there are none.
    """
    if folder.journal.exists():
        with Journal(folder.journal) as journal:
            kind = _kind(folder, journal)
            if kind is not None and len(pairs := paid_once(journal, kind)) > 0:
                return pairs
    raise RunMismatch(f"{folder.path} holds no answers. Name the folder of a run that has asked a teacher.")


def check_kind(folder: RunFolder, kind: Kind) -> None:
    """Refuse to go on in a folder whose answers are not of this `kind`; asks nobody and writes nothing.

    Raises:
        RunMismatch: says what is different.
    """
    if folder.journal.exists():
        with Journal(folder.journal) as journal:
            there = _kind(folder, journal)
        if there is not None:
            there.check_same(kind, str(folder.path), "this run")


def import_pairs(pairs: StoredPairs, folder: RunFolder, name: str) -> int:
    """Put pairs that another run paid for into the folder's journal; returns how many it did not know yet.

    A run in that folder never asks about these images again, and its step 2 learns from them too. What is broken off
    is completed by the same call. `name` is what a message calls the pairs.

    Raises:
        RunMismatch: the folder is somebody else's, its student has begun to learn, or the pairs do not fit to those
            that it holds. Nothing is written then.
    """
    if not folder.config_file.exists():
        folder.check_unclaimed("--run")
    with Journal(folder.journal) as journal:
        there = _kind(folder, journal)
        known = paid_once(journal, there or pairs.kind)
        new = new_pairs(known, pairs, str(folder.path), name)
        if len(new) > 0 and (folder.student.exists() or folder.state[STEP_2].exists()):
            raise RunMismatch(
                f"The student in {folder.path} has begun to learn, and would not know the {len(new)} new pairs of "
                f"{name}. Import into a new folder and distil there."
            )
        if there is None:
            note_kind(journal, pairs.kind)
        step = 0
        for part in _parts(new):
            while journal.find(IMPORTED, step) is not None:
                step += 1
            request = journal.add(IMPORTED, step, part.output, part.images, np.zeros(len(part), np.bool_))
            journal.answer(request, part.answers, Traffic())
    return len(new)


def note_kind(journal: Journal, kind: Kind) -> None:
    """Write down what the journal's pairs are."""
    journal.note(NOTE, kind.model_dump())


def _kind(folder: RunFolder, journal: Journal) -> Kind | None:
    """What the journal's pairs are, None where it holds none; without a note, what the folder's other files tell."""
    try:
        if note := journal.notes().get(NOTE):
            return Kind.model_validate(note)
        first = next(journal.answered(), None)
        if first is None or first.answers is None:
            return None
        label = first.output == LABEL
        classes = checkpoints.load(folder.generator, "generator")[0].classes if label else first.answers.shape[1]
        return Kind(
            output=first.output,
            image_shape=first.images.shape[1:],
            classes=classes,
            dataset=folder.config().dataset,
        )
    except ValidationError:
        raise InvalidCheckpoint(f"{folder.journal} was not written by this version. Choose another run.") from None


def _parts(pairs: StoredPairs) -> list[TransferSet]:
    """The pairs in pieces of a request's size."""
    whole = pairs.transfer_set()
    size = max(1, REQUEST_BYTES // max(1, whole.images[:1].nbytes))
    return [
        TransferSet(whole.images[start : start + size], whole.answers[start : start + size], whole.output)
        for start in range(0, len(whole), size)
    ]
