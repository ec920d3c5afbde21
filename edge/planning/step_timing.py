"""How long the parts of a run take on this machine, from a second or two of doing them with answers of zeros.

Nothing is asked. A busy machine makes everything look slower, and a run on it is.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from edge.config import OFFICIAL, Config
from edge.deprivatization import Ask, Emulation, generate
from edge.distillation import CONSISTENT_FROM, Alignment, predict
from edge.gan import Generator
from edge.images.local_images import LocalImages
from edge.methods import method_of
from edge.official.deprivatization import OfficialEmulation
from edge.official.distillation import OfficialAlignment
from edge.transfer_set.journal import Images, TransferSet
from shared.protocol import LABEL

WARM_UP, FEWEST, SECONDS = 2, 5, 0.3
"""Calls that are not timed; calls that are, at least, and for how long, unless a whole run makes fewer."""
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
    early_student: float
    """A step of the early student that chooses among the generated images."""
    distillation: float
    """A step of step 2, on average."""
    selection: float
    """A look at all held-out answers."""


def time_steps(config: Config, local: LocalImages, output: str, held_out: int) -> StepTimes:
    """Time what a run of `config` will do, on answers of the form `output`."""

    def answered(images: Images) -> TransferSet:
        shape = (len(images),) if output == LABEL else (len(images), local.classes)
        return TransferSet(images, np.zeros(shape, np.int64 if output == LABEL else np.float32), output)

    if config.method == OFFICIAL:
        return _official_times(config, local, lambda stage, images: answered(images))
    step_1, step_2 = config.deprivatization, config.distillation
    generator: Generator | None = None
    early = late = generation = 0.0
    images = local.images[:SAMPLE]
    if config.has_step_1:
        few = config.model_copy(update={"budget": SAMPLE})
        emulation = Emulation(local, lambda stage, images: answered(images), few)
        # A round of questions begins at its step, not before.
        early = _seconds(emulation.step, itertools.repeat(-1), step_1.steps)
        late = _seconds(emulation.step, itertools.repeat(step_1.steps), step_1.steps)
        generator = emulation.average.model
        z_NK = torch.randn(SAMPLE, local.classes, device=emulation.device)
        images = generate(generator, z_NK)
        samples = math.ceil(config.budget / SAMPLE)
        generation = _seconds(lambda _: generate(generator, z_NK), itertools.repeat(0), samples) / SAMPLE

    endless = step_2.model_copy(update={"evaluate_every": 2**62, "steps": 2**62})
    aligning = config.model_copy(update={"distillation": endless})
    alignment = Alignment(
        answered(images),
        generator,
        aligning,
        classes=local.classes,
        augmentation=local.augmentation,
        private=local.images,
        make_term=method_of(config).answer_term,
    )
    # Long before the consistency term.
    early_student = distillation = _seconds(alignment.step, itertools.count(), step_2.steps)
    if alignment.consistency is not None:
        later = _seconds(alignment.step, itertools.count(2**61), step_2.steps)
        distillation += (1 - CONSISTENT_FROM) * (later - distillation)
    judged = np.zeros((held_out, *local.image_shape), np.uint8)
    looks = math.ceil(step_2.steps / step_2.evaluate_every)
    selection = _seconds(lambda _: predict(alignment.student, judged), itertools.repeat(0), looks)
    return StepTimes(early, late, generation, early_student, distillation, selection)


def _official_times(config: Config, local: LocalImages, ask: Ask) -> StepTimes:
    """Its steps make the images that they ask about, and nothing is held out."""
    emulation = OfficialEmulation(local, ask, config)
    step_1 = _seconds(emulation.step, itertools.repeat(0), config.deprivatization.steps)
    alignment = OfficialAlignment(emulation.generator, ask, config, channels=local.image_shape[0])
    batches = math.ceil(config.budget / config.distillation.batch)
    step_2 = _seconds(alignment.step, itertools.repeat(0), batches)
    return StepTimes(step_1, step_1, 0.0, 0.0, step_2, 0.0)


def _seconds(work: Callable[[int], object], places: Iterator[int], most: int) -> float:
    """The mean of some calls of `work`, slow ones included, after a few that warm it up; a run makes `most`."""
    for _ in range(WARM_UP):
        work(next(places))
    calls, started = 0, time.perf_counter()
    while calls < FEWEST or (calls < most and time.perf_counter() - started < SECONDS):
        work(next(places))
        calls += 1
    return (time.perf_counter() - started) / calls
