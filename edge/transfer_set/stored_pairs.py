"""Answers that were paid for once, in the form in which they serve again: in a file, in another run, in a replay.

A set holds every distinct image once, in the order of asking, with the stage that asked about it. What all its pairs
have in common is its `Kind`; pairs of different kinds never mix, and neither do answers of different teachers.

Shapes: N pairs, K classes, C channels, H height, W width.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from edge.transfer_set.journal import Answers, Images, Journal, TransferSet, digests
from shared.errors import InvalidConfig, RunMismatch
from shared.protocol import LABEL

IMPORTED = "imported"
"""Stage of pairs that another run paid for."""
ROUNDING = 1e-4
"""Answers of one teacher differ by less, relative to 1 or to themselves, whatever batch or machine computed them."""


class Kind(BaseModel):
    """What all pairs of a set have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: Literal["logits", "probabilities", "label"]
    """What the teacher was asked for."""
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Channels, height and width of one image."""
    classes: PositiveInt
    """K, which labels alone do not tell."""
    dataset: str
    """Local images that the asked ones were made after."""
    shift: NonNegativeInt | None = None
    """Pixels by which an image may be moved without changing its class, where it is known."""
    flip: bool = False
    """Whether left and right may be swapped without changing it."""
    teacher: str | None = None
    """Model name on the server, where it is known."""
    version: str | None = None
    """Latest version of that model, where the server told one."""

    def check_same(self, other: "Kind", name: str, other_name: str) -> None:
        """Refuse to mix pairs of `self` with pairs of `other`; the names are for the message.

        Raises:
            RunMismatch: output, image shape, number of classes or, where both know it, the teacher's version differ.
        """
        for field in ("output", "image_shape", "classes", "version"):
            mine, theirs = getattr(self, field), getattr(other, field)
            if mine != theirs and None not in (mine, theirs):
                raise RunMismatch(
                    f"{name} and {other_name} do not go together: {field.replace('_', ' ')} is {mine} in the first, "
                    f"{theirs} in the second. Keep them apart."
                )


@dataclass(frozen=True)
class StoredPairs:
    """Distinct images uint8 [N, C, H, W] and their answers, float32 [N, K], or int64 [N] for `label`."""

    kind: Kind
    images: Images
    answers: Answers
    stages: tuple[str, ...]
    """Of every pair, the stage that it was asked in."""

    def __len__(self) -> int:
        return len(self.images)

    def transfer_set(self) -> TransferSet:
        """What step 2 learns from."""
        return TransferSet(self.images, self.answers, self.kind.output)

    def queries(self) -> dict[str, int]:
        """Pairs by stage, in the order of asking: what they cost when they were asked for."""
        return dict(Counter(self.stages))

    def asked(self) -> "StoredPairs":
        """Those that were asked about where they are stored."""
        return self.where(np.array([stage != IMPORTED for stage in self.stages], np.bool_))

    def first(self, count: int) -> "StoredPairs":
        """What a smaller budget would have bought.

        Raises:
            InvalidConfig: there are not as many.
        """
        if count > len(self):
            raise InvalidConfig(f"Budget {count} asks for more than the {len(self)} stored pairs. Use that or less.")
        return self.where(np.arange(len(self)) < count)

    def top1(self) -> "StoredPairs":
        """What a key that sees only the class would have bought."""
        if self.kind.output == LABEL:
            return self
        kind = self.kind.model_copy(update={"output": LABEL})
        return replace(self, kind=kind, answers=self.answers.argmax(1).astype(np.int64))

    def where(self, chosen: NDArray[np.bool_]) -> "StoredPairs":
        """The pairs for which `chosen` bool [N] is true, in their order."""
        stages = tuple(stage for stage, kept in zip(self.stages, chosen, strict=True) if kept)
        return replace(self, images=self.images[chosen], answers=self.answers[chosen], stages=stages)

    def digest(self) -> str:
        """The sha256 of all that is in here, in hexadecimal: equal for equal sets, wherever they are stored."""
        content = sha256(json.dumps([self.kind.model_dump(), self.stages], sort_keys=True).encode())
        content.update(self.images.tobytes())
        content.update(self.answers.tobytes())
        return content.hexdigest()


def paid_once(journal: Journal, kind: Kind) -> StoredPairs:
    """All answered pairs of a journal, equal images once: as they were asked about first.

    Raises:
        RunMismatch: some of them are not of this `kind`.
    """
    width = () if kind.output == LABEL else (kind.classes,)
    images, stages = [np.empty((0, *kind.image_shape), np.uint8)], list[str]()
    answers: list[Answers] = [np.empty((0, *width), np.int64 if kind.output == LABEL else np.float32)]
    seen: set[bytes] = set()
    for request in journal.answered():
        assert request.answers is not None
        if request.output != kind.output or request.images.shape[1:] != kind.image_shape:
            raise RunMismatch(
                f"The journal holds '{request.output}' for images {list(request.images.shape[1:])} beside "
                f"'{kind.output}' for {list(kind.image_shape)}. Choose another run folder."
            )
        first = []
        for place, digest in enumerate(digests(request.images)):
            if digest not in seen:
                seen.add(digest)
                first.append(place)
        images.append(request.images[first])
        answers.append(request.answers[first])
        stages += [request.stage] * len(first)
    return StoredPairs(kind, np.concatenate(images), np.concatenate(answers), tuple(stages))


def new_pairs(ours: StoredPairs, theirs: StoredPairs, our_name: str, their_name: str) -> StoredPairs:
    """The pairs of `theirs` whose images `ours` does not hold; for those that both hold, `ours` counts.

    Raises:
        RunMismatch: they are of different kinds, or answers to equal images differ by more than rounding: another
            teacher, or one that adds noise.
    """
    ours.kind.check_same(theirs.kind, our_name, their_name)
    places = {digest: place for place, digest in enumerate(digests(ours.images))}
    twin = np.array([places.get(digest, -1) for digest in digests(theirs.images)], np.int64)
    common = twin >= 0
    mine, other = ours.answers[twin[common]], theirs.answers[common]
    equal = mine == other if ours.kind.output == LABEL else np.isclose(mine, other, ROUNDING, ROUNDING).all(1)
    if not equal.all():
        raise RunMismatch(
            f"{our_name} and {their_name} hold different answers to {(~equal).sum()} of the {common.sum()} images "
            "that are in both, so another teacher gave them, or another policy. Keep them apart."
        )
    return theirs.where(~common)


def joined(first: StoredPairs, second: StoredPairs) -> StoredPairs:
    """Both sets one after the other, of the first one's kind; they must have no image in common."""
    return StoredPairs(
        first.kind,
        np.concatenate([first.images, second.images]),
        np.concatenate([first.answers, second.answers]),
        first.stages + second.stages,
    )
