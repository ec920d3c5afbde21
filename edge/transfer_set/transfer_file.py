"""A transfer set as one file, to keep, to send to somebody, and to learn from without a server.

A safetensors file with three tensors, and a card as JSON in its header that says what they are:

    images   uint8    [N, C, H, W]
    answers  float32  [N, K]          int64 [N] for `label`
    stage    int64    [N]             index into the card's `stages`

Equal sets make equal files, byte for byte. Reading executes nothing and believes nothing: shapes, types, values,
and the digest of everything are checked.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt

from edge.transfer_set.journal import digests
from edge.transfer_set.stored_pairs import Kind, StoredPairs
from shared import checkpoints, whole_files
from shared.errors import InvalidCheckpoint, RunMismatch
from shared.protocol import LABEL, PROBABILITIES

WHAT = "transfer set"


class TransferCard(Kind):
    """What the pairs of a file are."""

    format: Literal[1] = 1
    """Version of this layout."""
    role: Literal["transfer set"] = "transfer set"
    """Tells the file from a model's."""
    stages: dict[str, NonNegativeInt]
    """Pairs by stage, in the order of asking."""
    digest: str
    """The sha256 of the whole content, see `StoredPairs.digest`."""


def save(path: Path, pairs: StoredPairs) -> None:
    """Write `pairs` to `path` in one step. What was paid for is never written over.

    Raises:
        RunMismatch: another file is there already.
    """
    queries = pairs.queries()
    card = TransferCard(**pairs.kind.model_dump(), stages=queries, digest=pairs.digest())
    index = {stage: place for place, stage in enumerate(queries)}
    tensors = {
        "images": torch.from_numpy(np.array(pairs.images)),
        "answers": torch.from_numpy(np.array(pairs.answers)),
        "stage": torch.tensor([index[stage] for stage in pairs.stages]),
    }
    content = checkpoints.packed(tensors, card)
    if path.exists() and path.read_bytes() != content:
        raise RunMismatch(f"{path} is there already and holds something else. Choose another --to.")
    whole_files.write_atomically(path, content)


def load(path: Path) -> StoredPairs:
    """Read back what `save` wrote.

    Raises:
        InvalidCheckpoint: no such file, not a transfer set, of another version, or not as it was written.
    """
    card, tensors = checkpoints.unpacked(path, TransferCard, WHAT)
    problem = _problem(card, tensors)
    if problem is None:
        pairs = _pairs(card, tensors)
        if len(set(digests(pairs.images))) < len(pairs):
            problem = "it holds an image twice"
        elif pairs.queries() != card.stages:
            problem = "the pairs by stage are not as many as its card says"
        elif pairs.digest() != card.digest:
            problem = "the content is not what its digest was made of"
        else:
            return pairs
    raise InvalidCheckpoint(f"{path} is not a usable {WHAT}: {problem}. Export it anew.")


def _pairs(card: TransferCard, tensors: dict[str, torch.Tensor]) -> StoredPairs:
    names = list(card.stages)
    kind = Kind(**{field: getattr(card, field) for field in Kind.model_fields})
    stages = tuple(names[place] for place in tensors["stage"].tolist())
    return StoredPairs(kind, tensors["images"].numpy(), tensors["answers"].numpy(), stages)


def _problem(card: TransferCard, tensors: dict[str, torch.Tensor]) -> str | None:
    """What is wrong with shapes, types or values, None where nothing is."""
    if tensors.keys() != {"images", "answers", "stage"}:
        return f"it holds {', '.join(sorted(tensors)) or 'nothing'} instead of answers, images, stage"
    N = len(tensors["stage"]) if tensors["stage"].dim() else 0
    expected = {
        "images": (torch.uint8, (N, *card.image_shape)),
        "answers": (torch.int64, (N,)) if card.output == LABEL else (torch.float32, (N, card.classes)),
        "stage": (torch.int64, (N,)),
    }
    for name, (dtype, shape) in expected.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
            return f"'{name}' is {tensor.dtype} {list(tensor.shape)} instead of {dtype} {list(shape)}"
    if N == 0:
        return "it holds no pairs"
    answers, stage = tensors["answers"], tensors["stage"]
    if card.output == LABEL and not ((answers >= 0) & (answers < card.classes)).all():
        return f"a label is none of the {card.classes} classes"
    if not torch.isfinite(answers).all():
        return "an answer is not a finite number"
    if card.output == PROBABILITIES and not ((answers >= 0) & (answers <= 1)).all():
        return "a probability is not between 0 and 1"
    if not ((stage >= 0) & (stage < len(card.stages))).all():
        return f"a stage is none of the {len(card.stages)} in its card"
    return None
