"""What an unfinished training needs to go on as if nothing had happened, in one file that lies beside its result."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from shared.errors import InvalidCheckpoint, RunMismatch
from shared.whole_files import write_atomically


class Stateful(Protocol):
    """What a module, an optimiser and a scheduler have in common."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Go on from there."""


class Progress(NamedTuple):
    """How far a training has come: steps done, and what it has measured so far."""

    done: int
    record: dict[str, Any]


def save(path: Path, training: str, parts: Mapping[str, Stateful], progress: Progress) -> None:
    """Write the state; `training` tells what is trained, and how."""
    state = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({"training": training, "parts": state, **progress._asdict()}, buffer)
    write_atomically(path, buffer.getvalue())


def restore(path: Path | None, training: str, parts: Mapping[str, Stateful]) -> Progress:
    """Put the state back into `parts`; where there is no file, nothing is done yet.

    Raises:
        RunMismatch: the file is another training's.
        InvalidCheckpoint: it cannot be read.
    """
    if path is None or not path.exists():
        return Progress(0, {})
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        theirs, progress = str(saved["training"]), Progress(int(saved["done"]), dict(saved["record"]))
        if theirs == training:
            for name, part in parts.items():
                part.load_state_dict(saved["parts"][name])
    except Exception as error:  # torch.load has no error of its own; whatever it is, the file is of no use
        raise InvalidCheckpoint(
            f"{path} is not a readable state of {training} ({type(error).__name__}). "
            "Delete it to start this training anew; answers that were paid for are kept elsewhere."
        ) from None
    if theirs != training:
        raise RunMismatch(
            f"{path} holds an unfinished training: {theirs}. Asked for is: {training}. "
            "Finish that one with its own command, delete the file, or choose another --out."
        )
    return progress
