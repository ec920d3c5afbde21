"""Stored pairs and the folders of runs, made without a server, for tests of what serves again."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.asking.teacher import Reply
from edge.asking.wire_bytes import Traffic
from edge.run import run
from edge.run_folder import RunFolder
from edge.transfer_set.journal import Journal
from edge.transfer_set.stored_pairs import Kind, StoredPairs
from shared.protocol import IMAGES, LOGITS, ModelMetadata, TensorMetadata
from tests.edge.small import K, Projection, small_config
from tests.fakes import LinearTeacher

KIND = Kind(output=LOGITS, image_shape=(1, 8, 8), classes=K, dataset="digits", shift=1, teacher="linear", version="a")


class FreeTeacher:
    """A `Projection` that is asked as a server is, and that nobody counts; remembers how many images it was sent."""

    def __init__(self, output: str = LOGITS) -> None:
        self.output, self.asked = output, 0
        self._projection = Projection(output)

    def metadata(self) -> ModelMetadata:
        return ModelMetadata(
            name="free",
            inputs=[TensorMetadata(name=IMAGES, datatype="UINT8", shape=[-1, 1, 8, 8])],
            outputs=[TensorMetadata(name=self.output, datatype="FP32", shape=[-1, K])],
        )

    def usage(self) -> None:
        return None

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        self.asked += len(images)
        return Reply(self._projection.pairs(images).answers, 0, 0, replayed=False)


def random_images(count: int, seed: int = 0, shape: tuple[int, int, int] = (1, 8, 8)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def stored(count: int, seed: int = 0, stage: str = "distillation") -> StoredPairs:
    """Random images with the answers of a `LinearTeacher`."""
    images = random_images(count, seed)
    return StoredPairs(KIND, images, LinearTeacher().logits(images), (stage,) * count)


def put(journal: Journal, stage: str, images: NDArray[np.uint8], sent: NDArray[np.bool_] | None = None) -> None:
    """An answered request as a run writes it."""
    step = sum(1 for _ in journal.answered(stage))
    sent = np.ones(len(images), np.bool_) if sent is None else sent
    request = journal.add(stage, step, LOGITS, images, sent)
    journal.answer(request, LinearTeacher().logits(images), Traffic())


def finished_run(out: Path, output: str = LOGITS, **changes: object) -> RunFolder:
    """The folder of a run that asked a `FreeTeacher`."""
    run(small_config(**changes), FreeTeacher(output), out)
    return RunFolder(out)
