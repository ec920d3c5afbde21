"""Step 2, distillation: the student's logits are aligned with the teacher's by aligning the images made of both.

Paper, distillation: L_Dt = || G(S(x')/tau) - G(T(x')/tau) ||_1 + beta KL_tau(T(x') || S(x')), with G frozen and
grafted behind both models and x' = G(z). The official code asks about a fresh batch at every step; here a *pool* of
images is asked about once, stored, and learnt from for many epochs, through label-preserving shifts. G(T(x')/tau) is
computed once per stored pair. A part of the pool is held out: agreement with those answers selects the student among
those of the last fifth of the steps. By default the weight of || . ||_1 is 0, since it has shown no gain beside KL,
and the student learns from the private images, too (`edge.consistency`).

Shapes: N stored pairs, B batch, K classes, C channels, H height, W width.
"""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.answer_terms import MakeTerm, answer_term
from edge.answers import labels, latents, target_latents, target_logits
from edge.config import Config
from edge.consistency import ConsistencyTerm
from edge.deprivatization import Ask, descend, generate
from edge.gan import Generator
from edge.losses import image_loss, kl_loss, label_loss, surest_label
from edge.optimizers import optimizer
from edge.training import Curves, Training, Watcher
from edge.transfer_set.journal import Images, TransferSet
from shared import architectures, compute, metrics, pixels, seeding
from shared.augmentation import Augmentation
from shared.protocol import LABEL
from shared.recorded import Recorded
from shared.training_state import Stateful

STAGE = "distillation"
SELECT_FROM = 0.8
"""Share of the steps before which no student is selected: the schedule still takes it somewhere, and a few held-out
answers cannot tell where. Of 25, a tenth of 250, the best look is often the luckiest one."""
NORMAL_BLOCK = 16
"""Numbers that `torch.randn` makes at a time: those of an incomplete block would be others in a longer tensor."""
CONSISTENT_FROM = 0.2
"""Share of the steps after which a student knows enough to be asked."""


def fill_pool(generator: Generator, ask: Ask, queries: int, config: Config) -> TransferSet:
    """Ask about `queries` images that the generator makes of z ~ N(0, I_K); at most that many come back."""
    return ask(STAGE, drawn_images(generator, queries, config))


def drawn_images(generator: Generator, count: int, config: Config, stream: str = "pool") -> Images:
    """Images uint8 [count, C, H, W] as the generator makes them; each `stream` of latents has others.

    Fewer are the first of more, so that a smaller run's answers serve a larger one.
    """
    K, device = generator.project.in_features, next(generator.parameters()).device
    whole = -(-count // NORMAL_BLOCK) * NORMAL_BLOCK
    z_NK = torch.randn(whole, K, generator=seeding.rng(config.seed, STAGE, stream))[:count]
    return generate(generator, z_NK.to(device))


def distill(
    pairs: TransferSet,
    generator: Generator | None,
    config: Config,
    *,
    classes: int,
    augmentation: Augmentation,
    private: Images | None = None,
    make_term: MakeTerm = answer_term,
    stage: str = STAGE,
    state: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[nn.Module, Curves]:
    """Train a student on stored pairs; that of the last fifth which agreed best with the held-out answers comes back.

    Args:
        pairs: images and the teacher's answers, of any stage and any response policy.
        generator: step 1's, frozen; only the image term needs one.
        config: the run's.
        classes: K, which labels alone do not tell.
        augmentation: how an image may be changed without changing its class.
        private: the device's images; only the consistency term needs them.
        make_term: makes the answer term.
        stage: what the watcher is told that it is.
        state: file that keeps the training between two starts.
        watcher: told of every step, may ask for a stop.

    Raises:
        Stopped: the watcher asked for it; the state is saved.
    """
    alignment = Alignment(
        pairs,
        generator,
        config,
        classes=classes,
        augmentation=augmentation,
        private=private,
        make_term=make_term,
    )
    training = Training(stage, alignment.parts(), state, watcher or Watcher())
    curves = training.run(config.distillation.steps, alignment.step)
    return alignment.best.student, curves


class Alignment:
    """The student while it learns."""

    def __init__(
        self,
        pairs: TransferSet,
        generator: Generator | None,
        config: Config,
        *,
        classes: int,
        augmentation: Augmentation,
        private: Images | None = None,
        make_term: MakeTerm = answer_term,
    ) -> None:
        self.config, self.seed = config.distillation, config.seed
        self.augmentation = augmentation._replace(tilt=self.config.tilt)
        self.augmentation_of_private = augmentation._replace(
            tilt=self.config.consistency_tilt, strong=self.config.consistency_strong
        )
        self.device = compute.device()
        self.output = pairs.output
        answers = torch.from_numpy(np.array(pairs.answers)).to(self.device)
        target_NK, label_N = target_logits(answers, self.output, classes), labels(answers, self.output)

        learn, held_out = split(len(answers), self.config.held_out, config.seed)
        self.images_NCHW = torch.from_numpy(pairs.images[learn.numpy()]).to(self.device)  # uint8: a quarter of memory
        self.target_NK, self.label_N = target_NK[learn], label_N[learn]
        self.image_term: ImageTerm | None = None
        if self.config.image_weight > 0:
            assert generator is not None, "the image term needs a generator"
            generator = generator.to(self.device)
            self.image_term = ImageTerm(generator, self.target_NK, self.output, self.config.temperature)
        self.held_out = pairs.images[held_out.numpy()], target_NK[held_out].cpu(), label_N[held_out].cpu()

        self.answer_term = make_term(config, self.output, classes)
        seeding.seed_initial_weights(config.seed, STAGE)
        student = architectures.build(config.student, channels=pairs.images.shape[1], classes=classes)
        self.student = student.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.passes = Recorded(self.student)
        self.best = Best(self.student)
        self.consistency: ConsistencyTerm | None = None
        if self.config.consistency_weight > 0:
            assert private is not None, "the consistency term needs the device's images"
            surest = surest_label(classes, self.config.label_smoothing) if self.output == LABEL else 1.0
            self.consistency = ConsistencyTerm(self.student, private, self.config, surest)
        self.optimizer, self.schedule = optimizer(self.student, self.config)

    def parts(self) -> dict[str, Stateful]:
        """All that `step` changes."""
        parts: dict[str, Stateful] = {"student": self.student, "best": self.best, "optimizer": self.optimizer}
        parts |= self.answer_term.parts()
        return parts if self.consistency is None else parts | {"average": self.consistency.average.model}

    def step(self, done: int) -> dict[str, float]:
        """One update of the student; now and then a look at the held-out answers."""
        seeding.seed_dropout(self.seed, STAGE, done)
        rng, B = seeding.rng(self.seed, STAGE, done), self.config.batch
        pick_B = torch.randint(len(self.images_NCHW), (B,), generator=rng).to(self.device)
        x_BCHW = self.augmentation(pixels.to_float(self.images_NCHW[pick_B]), rng)
        consistency = self.consistency if done >= CONSISTENT_FROM * self.config.steps else None
        if consistency is not None:  # in one batch with the others, so that batch norm learns from both
            private_BCHW = self.augmentation_of_private(consistency.draw(B, rng), rng)
            x_BCHW = torch.cat([x_BCHW, private_BCHW])
        logits_BK = self.passes(x_BCHW.contiguous(memory_format=torch.channels_last))

        terms = self._terms(logits_BK[:B], pick_B)
        if consistency is not None:
            terms["consistency term"] = self.config.consistency_weight, consistency(logits_BK[B:])
        values = {name: term.item() for name, (_, term) in terms.items()}
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self.schedule(done, self.config.steps)
        descend(self.optimizer, torch.stack([weight * term for weight, term in terms.values()]).sum())
        if self.consistency is not None:
            self.consistency.average.update(done)
        if (done + 1) % self.config.evaluate_every == 0 or done + 1 == self.config.steps:
            values |= self._look(late=done + 1 >= SELECT_FROM * self.config.steps)
        return values

    def _terms(self, logits_BK: torch.Tensor, pick_B: torch.Tensor) -> dict[str, tuple[float, torch.Tensor]]:
        """Terms of L_Dt by name, each with its weight; one whose weight is 0 is not worked out."""
        terms = {}
        if self.config.kl_weight > 0:
            answer = self.answer_term(logits_BK, self.target_NK[pick_B], self.label_N[pick_B])
            terms["answer term"] = self.config.kl_weight, answer
        if self.image_term is not None:
            terms["image term"] = self.config.image_weight, self.image_term(logits_BK, pick_B)
        return terms

    def _look(self, *, late: bool) -> dict[str, float]:
        images, target_NK, label_N = self.held_out
        logits_NK = predict(self.student, images)
        agreement = metrics.accuracy(logits_NK, label_N)
        distance = label_loss(logits_NK, label_N, 0.0) if self.output == LABEL else kl_loss(logits_NK, target_NK, 1.0)
        if late:
            self.best.offer(self.student, agreement, distance.item())
        return {"held-out agreement": agreement, "held-out distance": distance.item()}


def kept_agreement(curves: Curves, steps: int) -> float | None:
    """Share of the held-out answers that the student which was kept agreed with; None where nothing was held out."""
    looks = curves.get("held-out agreement", [])
    return max((agreement for step, agreement in looks if step >= SELECT_FROM * steps), default=None)


class ImageTerm:
    """|| G(S(x')/tau) - G(T(x')/tau) ||_1 with G frozen; what it makes of the teacher's answers is made once."""

    def __init__(self, generator: Generator, target_NK: torch.Tensor, output: str, temperature: float) -> None:
        self.generator = generator.eval().requires_grad_(False)
        self.output, self.temperature = output, temperature
        with torch.no_grad():
            z_NK = target_latents(target_NK, output, temperature)
            self.grafted_NCHW = torch.cat([self.generator(z_BK) for z_BK in torch.split(z_NK, 512)])

    def __call__(self, logits_BK: torch.Tensor, pick_B: torch.Tensor) -> torch.Tensor:
        """The student's `logits_BK` to the stored pairs `pick_B`, against the teacher's answers to them."""
        student_BCHW = self.generator(latents(logits_BK, self.output, self.temperature))
        return image_loss(student_BCHW, self.grafted_NCHW[pick_B])


class Best:
    """The student that agreed best with the held-out answers; of equals the one nearer to them."""

    def __init__(self, student: nn.Module) -> None:
        self.student = copy.deepcopy(student).eval()
        self.score = (-math.inf, -math.inf)

    def offer(self, student: nn.Module, agreement: float, distance: float) -> None:
        """Keep a copy of `student` where it is better than what is kept."""
        if (agreement, -distance) > self.score:
            self.score = (agreement, -distance)
            self.student.load_state_dict(student.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"student": self.student.state_dict(), "score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from a kept state."""
        self.student.load_state_dict(state_dict["student"])
        self.score = state_dict["score"]


def split(count: int, held_out: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices to learn from and indices that only select, drawn once per seed."""
    order = torch.randperm(count, generator=seeding.rng(seed, STAGE, "held out"))
    size = max(1, round(held_out * count))
    return order[size:], order[:size]


@torch.no_grad()
def predict(student: nn.Module, images: Images) -> torch.Tensor:
    """Logits [N, K], on the CPU, for uint8 [N, C, H, W]; the student is left in training mode if it was."""
    training, device = student.training, next(student.parameters()).device
    student.eval()
    parts = (images[start : start + 512] for start in range(0, len(images), 512))
    logits_NK = torch.cat([student(pixels.from_array(part).to(device)).cpu() for part in parts])
    student.train(training)
    return logits_NK
