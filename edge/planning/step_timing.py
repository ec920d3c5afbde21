"""How long the parts of a run take on this machine, from a second or two of doing them with answers of zeros.

Nothing is asked. A busy machine makes everything look slower, and a run on it is.
"""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from edge.config import Config
from edge.deprivatization import Emulation, generate
from edge.distillation import Alignment, predict
from edge.images.local_images import LocalImages
from edge.transfer_set.journal import Images, TransferSet
from shared.protocol import LABEL

WARM_UP, FEWEST, SECONDS = 2, 5, 0.3
"""Calls that are not timed; calls that are, at least, and for how long."""
SAMPLE = 64
"""Images of which some thousands are judged."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds."""

    early: float
    """A step of step 1 before the first y_T is known."""
    late: float
    """A step of step 1 after that; it has one more pass through both networks."""
    generation: float
    """Making one image."""
    distillation: float
    """A step of step 2."""
    selection: float
    """A look at all held-out answers."""


def time_steps(config: Config, local: LocalImages, output: str, held_out: int) -> StepTimes:
    """Time what a run of `config` will do, on answers of the form `output`."""

    def answered(images: Images) -> TransferSet:
        shape = (len(images),) if output == LABEL else (len(images), local.classes)
        return TransferSet(images, np.zeros(shape, np.int64 if output == LABEL else np.float32), output)

    few = config.model_copy(update={"budget": SAMPLE})
    emulation = Emulation(local, lambda stage, images: answered(images), few)
    early = _seconds(emulation.step, itertools.repeat(-1))  # a round of questions begins at its step and not before
    late = _seconds(emulation.step, itertools.repeat(config.deprivatization.steps))
    generator = emulation.average.model
    z_NK = torch.randn(SAMPLE, local.classes, device=emulation.device)
    generation = _seconds(lambda _: generate(generator, z_NK), itertools.repeat(0)) / SAMPLE

    endless = config.distillation.model_copy(update={"evaluate_every": 2**62, "steps": 2**62})
    pairs = answered(generate(generator, z_NK))
    aligning = config.model_copy(update={"distillation": endless})
    alignment = Alignment(pairs, generator, aligning, classes=local.classes, augmentation=local.augmentation)
    distillation = _seconds(alignment.step, itertools.count())
    judged = np.zeros((held_out, *local.image_shape), np.uint8)
    selection = _seconds(lambda _: predict(alignment.student, judged), itertools.repeat(0))
    return StepTimes(early, late, generation, distillation, selection)


def _seconds(work: Callable[[int], object], places: Iterator[int]) -> float:
    """The mean of some calls of `work`, slow ones included, after a few that warm it up."""
    for _ in range(WARM_UP):
        work(next(places))
    calls, started = 0, time.perf_counter()
    while calls < FEWEST or time.perf_counter() - started < SECONDS:
        work(next(places))
        calls += 1
    return (time.perf_counter() - started) / calls
