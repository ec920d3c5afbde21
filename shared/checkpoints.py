"""Model files: safetensors, with what the weights belong to as JSON inside the file's own header.

One file, written aside and moved into place, so that a half-written one never bears the name. No pickle.
"""

import hashlib
from pathlib import Path
from typing import Literal, TypeVar

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from shared.errors import InvalidCheckpoint
from shared.whole_files import write_atomically

_HEADER = "mekd"
AnyCard = TypeVar("AnyCard", bound=BaseModel)


class Card(BaseModel):
    """What the weights are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    """Version of this layout."""
    role: Literal["teacher", "student", "generator"]
    """Part that the model plays; one part's file is refused in the place of another's."""
    architecture: str
    """Name that `shared.architectures.build` knows, or the generator's."""
    dataset: str
    """Dataset whose classes the model knows."""
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Channels, height and width of one image."""
    classes: PositiveInt
    """Number of classes."""
    seed: int
    """Seed of the training."""
    facts: dict[str, float] = {}
    """Measured at training time, for instance `test_accuracy`."""


def save(path: Path, model: torch.nn.Module, card: Card) -> None:
    """Write `model` and `card` to `path` in one step."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(path, packed(tensors, card))


def load(path: Path, role: str) -> tuple[Card, dict[str, torch.Tensor]]:
    """Read back what `save` wrote.

    Raises:
        InvalidCheckpoint: no such file, not safetensors, not ours, or of another role.
    """
    card, tensors = unpacked(path, Card, role)
    if card.role != role:
        raise InvalidCheckpoint(f"{path} holds a {card.role}, a {role} is needed.")
    return card, tensors


def version_of(tensors: dict[str, torch.Tensor]) -> str:
    """Twelve hexadecimal digits that tell these weights from others, whatever file they lie in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def packed(tensors: dict[str, torch.Tensor], card: BaseModel) -> bytes:
    """A safetensors file of contiguous CPU `tensors`, with `card` in its header."""
    return safetensors.torch.save(tensors, {_HEADER: card.model_dump_json()})


def unpacked(path: Path, kind: type[AnyCard], what: str) -> tuple[AnyCard, dict[str, torch.Tensor]]:
    """The card of that `kind` and the tensors of a file; `what` is what a message calls it.

    Raises:
        InvalidCheckpoint: no such file, not safetensors, or with another card.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            if header is None:
                raise InvalidCheckpoint(f"{path} is a safetensors file that MEKD did not write.")
            card = kind.model_validate_json(header)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InvalidCheckpoint(f"There is no {what} at {path}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = f"card, {'.'.join(map(str, first['loc']))!r}: {first['msg']}"
        raise InvalidCheckpoint(f"{path} is not a readable {what} checkpoint ({reason}). Make it anew.") from None
    except (safetensors.SafetensorError, OSError) as error:
        raise InvalidCheckpoint(f"{path} is not a readable {what} checkpoint ({error}). Make it anew.") from None
    return card, tensors


def restore(model: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Put `tensors` into `model`.

    Raises:
        InvalidCheckpoint: names or shapes are not the model's.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InvalidCheckpoint(f"{path} does not fit the architecture that it names: {first}") from None
