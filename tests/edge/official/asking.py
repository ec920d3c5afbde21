"""An official config that takes a second, and an oracle in a test's folder, asked over several lives of a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.asking.oracle import Oracle
from edge.asking.teacher import Reply
from edge.config import OFFICIAL, Config, merge, parse
from edge.transfer_set.journal import Journal
from shared.protocol import LOGITS
from tests.edge.small import small_config
from tests.edge.transfer_set.storing import FreeTeacher

STEP_1 = [8, 8, 2]
"""Images of the steps of step 1 that ask: 18 queries; 6 steps in all."""
STEP_2 = [8, 8, 8, 8, 8, 2]
"""Images of the steps of step 2: 42 queries."""


def official_config(**changes: Any) -> Config:
    return parse(
        merge(
            small_config(method=OFFICIAL, budget=60, deprivatization={"width": 16, "steps": 6}).model_dump(), changes
        )
    )


class KeyedTeacher(FreeTeacher):
    """Remembers the idempotency keys and sizes of all requests."""

    def __init__(self, output: str = LOGITS) -> None:
        super().__init__(output)
        self.keys: list[str] = []
        self.sizes: list[int] = []

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        self.keys.append(key)
        self.sizes.append(len(images))
        return super().ask(images, output, key)


@contextmanager
def an_oracle(teacher: FreeTeacher, folder: Path, batch: int = 250) -> Iterator[Oracle]:
    """One life of a process that asks."""
    with Journal(folder / "journal.sqlite") as journal:
        yield Oracle(teacher, journal, teacher.output, batch=batch)
