"""Step 2 as the released code has it: every step asks about a fresh batch and learns from it once.

    loss = image weight * mean |G(S(x')/tau) - G(T(x')/tau)|
         + KL weight * tau KL(softmax(T(x')/tau) || softmax(S(x')/tau))

with x' = G(z), the student in training mode and G frozen. A top-1 answer stands in both terms as a one-hot vector, as
if it were logits. Nothing is held out and nothing selects: the student of the last step is the result, where the
released code takes that of the best epoch on the *test* images.

Shapes: B batch, K classes, C channels, H height, W width.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from edge.answers import target_logits
from edge.config import Config
from edge.deprivatization import Ask, descend, generate
from edge.distillation import STAGE
from edge.gan import Generator
from edge.official.deprivatization import answers_to
from edge.official.losses import image_loss, kl_loss
from edge.optimizers import MOMENTUM, thirds
from edge.training import Curves, Training, Watcher
from shared import architectures, compute, pixels, seeding
from shared.training_state import Stateful


def distill(
    generator: Generator,
    ask: Ask,
    config: Config,
    *,
    channels: int,
    place: Stateful,
    state: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[nn.Module, Curves]:
    """Train a student while asking; it comes back as the last step left it, in evaluation mode.

    Args:
        generator: step 1's, frozen.
        ask: pays for the answers.
        config: the run's.
        channels: C.
        place: where `ask` is in this stage, kept with the state: what was learnt from is not asked again.
        state: file that keeps the training between two starts.
        watcher: told of every step, may ask for a stop.

    Raises:
        Stopped: the watcher asked for it; the state is saved.
        BudgetTooSmall: the key's budget was spent elsewhere.
    """
    alignment = OfficialAlignment(generator, ask, config, channels=channels)
    training = Training(STAGE, alignment.parts() | {"place": place}, state, watcher or Watcher())
    curves = training.run(len(alignment.batches), alignment.step)
    return alignment.student.eval(), curves


class OfficialAlignment:
    """The student while it learns."""

    def __init__(self, generator: Generator, ask: Ask, config: Config, *, channels: int) -> None:
        self.ask, self.config, self.seed = ask, config.distillation, config.seed
        self.device = compute.device()
        self.generator = generator.to(self.device).eval().requires_grad_(False)
        self.classes = generator.project.in_features
        self.batches = batches(config)
        seeding.seed_initial_weights(config.seed, STAGE)
        student = architectures.build(config.student, channels=channels, classes=self.classes)
        self.student = student.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.sgd = torch.optim.SGD(
            self.student.parameters(),
            self.config.learning_rate,
            momentum=MOMENTUM,
            weight_decay=self.config.weight_decay,
        )

    def parts(self) -> dict[str, Stateful]:
        """All that `step` changes."""
        return {"student": self.student, "sgd": self.sgd}

    def step(self, done: int) -> dict[str, float]:
        """One fresh batch, one update of the student."""
        seeding.seed_dropout(self.seed, STAGE, done)
        rng, tau = seeding.rng(self.seed, STAGE, done), self.config.temperature
        z_BK = torch.randn(self.batches[done], self.classes, generator=rng)
        paid = answers_to(generate(self.generator, z_BK.to(self.device)), self.ask, STAGE)
        x_BCHW = pixels.from_array(paid.images).to(self.device)
        answers = torch.from_numpy(np.array(paid.answers)).to(self.device)
        teacher_BK = target_logits(answers, paid.output, self.classes)
        student_BK = self.student(x_BCHW.contiguous(memory_format=torch.channels_last))

        values, loss = {}, torch.zeros((), device=self.device)
        if self.config.kl_weight > 0:
            term = kl_loss(student_BK, teacher_BK, tau)
            values["answer term"] = term.item()
            loss = loss + self.config.kl_weight * term
        if self.config.image_weight > 0:
            term = image_loss(self.generator(student_BK / tau), self.generator(teacher_BK / tau))
            values["pixel term"] = term.item()
            loss = loss + self.config.image_weight * term

        for group in self.sgd.param_groups:
            group["lr"] = self.config.learning_rate * thirds(done, len(self.batches))
        descend(self.sgd, loss)
        return values


def batches(config: Config) -> list[int]:
    """Images of every step: as many full batches as the rest of the budget pays for, then what is left of it.

    A single image is no batch for batch norms; it joins the batch before it.
    """
    full, left = divmod(config.budget - config.im_queries, config.distillation.batch)
    sizes = [config.distillation.batch] * full
    if left == 1:
        sizes[-1] += 1
    elif left > 1:
        sizes.append(left)
    return sizes
