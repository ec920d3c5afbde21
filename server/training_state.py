"""What an unfinished training needs to go on as if nothing had happened, in one file that lies beside its result."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from shared.checkpoints import write_atomically
from shared.errors import InvalidCheckpoint, RunMismatch


class Stateful(Protocol):
    """What a module, an optimiser and a scheduler have in common."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Go on from there."""


def save(path: Path, training: str, done: int, parts: Mapping[str, Stateful]) -> None:
    """Write the state after `done` steps; `training` tells what is trained, and how."""
    state = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save({"training": training, "done": done, "parts": state}, buffer)
    write_atomically(path, buffer.getvalue())


def restore(path: Path, training: str, parts: Mapping[str, Stateful]) -> int:
    """Put the state back into `parts`; returns the steps done, 0 where there is no file.

    Raises:
        RunMismatch: the file is another training's.
        InvalidCheckpoint: it cannot be read.
    """
    if not path.exists():
        return 0
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        theirs, done = str(saved["training"]), int(saved["done"])
        if theirs == training:
            for name, part in parts.items():
                part.load_state_dict(saved["parts"][name])
    except Exception as error:  # torch.load has no error of its own; whatever it is, the file is of no use
        raise InvalidCheckpoint(
            f"{path} is not a readable state of a training ({type(error).__name__}). Delete it to start anew."
        ) from None
    if theirs != training:
        raise RunMismatch(
            f"{path} holds an unfinished training: {theirs}. Asked for is: {training}. "
            "Finish that one with its own command, delete the file, or choose another --out."
        )
    return done
