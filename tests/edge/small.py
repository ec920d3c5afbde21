"""A small dataset and a config that takes a second, for tests of training."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.config import Config, merge, parse
from edge.images.local_images import LocalImages
from edge.transfer_set.journal import TransferSet
from shared import datasets
from shared.datasets import Dataset
from shared.protocol import LABEL, LOGITS, PROBABILITIES

K = 10
SMALL = {
    "budget": 100,
    "deprivatization": {"steps": 12, "batch": 8, "width": 8, "im_weight": 0.5, "im_share": 0.3},
    "distillation": {
        "steps": 12,
        "batch": 8,
        "evaluate_every": 4,
        "image_weight": 0.01,
        "consistency_weight": 0.0,
        "drawn_share": 1.0,
    },
}
"""The paper's terms, so that both steps ask; the whole pool is asked about as it comes."""

TINY = """
budget = 100
[deprivatization]
steps = 6
batch = 8
width = 8
im_weight = 0.5
[distillation]
steps = 6
batch = 8
image_weight = 0.01
consistency_weight = 0.0
drawn_share = 1.0
"""
"""A config file that takes a second, with the paper's terms, so that both steps ask."""


def small_config(**changes: Any) -> Config:
    return parse(merge(merge(Config().model_dump(), SMALL), changes))


@cache
def digits() -> LocalImages:
    """Nobody writes into it."""
    return LocalImages("digits", K, whole_digits().augmentation, whole_digits().edge)


@cache
def whole_digits() -> Dataset:
    """With the labelled parts, for judging. Nobody writes into it."""
    return datasets.load("digits")


class Projection:
    """A teacher with known maths: logits = centred pixels @ fixed random weights, so that every class occurs.

    Called like an oracle; remembers what it was asked in `questions`.
    """

    def __init__(self, output: str = LOGITS) -> None:
        self.output = output
        self.questions: list[tuple[str, NDArray[np.uint8]]] = []
        self._weights = np.random.default_rng(0).normal(0, 1, (64, K))
        self._mean = digits().images.reshape(-1, 64).mean(0)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        centred = images.reshape(len(images), -1) - self._mean
        return np.asarray(centred @ self._weights / 127.5, np.float32)

    def __call__(self, stage: str, images: NDArray[np.uint8]) -> TransferSet:
        self.questions.append((stage, images))
        return self.pairs(images)

    def pairs(self, images: NDArray[np.uint8]) -> TransferSet:
        logits = self.logits(images)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        answers: dict[str, NDArray[Any]] = {
            LOGITS: logits,
            PROBABILITIES: powers / powers.sum(1, keepdims=True),
            LABEL: logits.argmax(1),
        }
        return TransferSet(images, answers[self.output], self.output)
