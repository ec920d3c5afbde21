"""Step 1 as the released code has it: a plain DCGAN that asks the teacher at every step.

    L_dp = L_G + alpha L_IM for the generator, L_D for the discriminator; the losses are in `edge.official.losses`

Per step one batch of real images, epoch by epoch, and two batches of latents: one for the discriminator, one for the
generator. The teacher is asked about the second as it is, made in training mode, and only the mean index of its
classes is used. Once the stage's queries are spent, the last known mean goes on being used.

Shapes: N local images, B batch, K classes = latent dimension, C channels, H height, W width.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.answers import labels
from edge.config import Config
from edge.deprivatization import STAGE, Ask, descend
from edge.gan import Generator
from edge.images.local_images import LocalImages
from edge.official.losses import discriminator_loss, generator_loss, information_maximisation_loss
from edge.official.networks import OfficialDiscriminator, OfficialGenerator
from edge.training import Curves, Training, Watcher
from edge.transfer_set.journal import Images, TransferSet
from shared import compute, pixels, seeding
from shared.errors import BudgetTooSmall
from shared.training_state import Stateful

BETA2 = 0.999
"""Adam's second-moment decay."""


def deprivatize(
    local: LocalImages,
    ask: Ask,
    config: Config,
    *,
    place: Stateful,
    state: Path | None = None,
    watcher: Watcher | None = None,
) -> tuple[Generator, Curves]:
    """Train the generator on the edge's unlabelled images; it comes back frozen, in evaluation mode.

    Args:
        local: the edge's images.
        ask: pays for the classes of generated images.
        config: the run's.
        place: where `ask` is in this stage, kept with the state: what was learnt from is not asked again.
        state: file that keeps the training between two starts.
        watcher: told of every step, may ask for a stop.

    Raises:
        Stopped: the watcher asked for it; the state is saved.
        BudgetTooSmall: the key's budget was spent elsewhere.
    """
    emulation = OfficialEmulation(local, ask, config)
    training = Training(STAGE, emulation.parts() | {"place": place}, state, watcher or Watcher())
    curves = training.run(config.deprivatization.steps, emulation.step)
    emulation.generator.eval().requires_grad_(False)
    return emulation.generator, curves


class OfficialEmulation:
    """The GAN while it learns."""

    def __init__(self, local: LocalImages, ask: Ask, config: Config) -> None:
        self.ask, self.config, self.seed = ask, config, config.seed
        self.device = compute.device()
        self.classes = local.classes
        self.real_NCHW = torch.from_numpy(local.images).to(self.device)
        seeding.seed_initial_weights(config.seed, STAGE)
        step = config.deprivatization
        self.generator = OfficialGenerator(local.classes, local.image_shape, step.width).to(self.device)
        self.discriminator = OfficialDiscriminator(local.image_shape).to(self.device)
        self.generator_adam, self.discriminator_adam = (
            torch.optim.Adam(network.parameters(), step.learning_rate, (step.beta1, BETA2))
            for network in (self.generator, self.discriminator)
        )
        self.index = MeanIndex()

    def parts(self) -> dict[str, Stateful]:
        """All that `step` changes."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "generator_adam": self.generator_adam,
            "discriminator_adam": self.discriminator_adam,
            "index": self.index,
        }

    def step(self, done: int) -> dict[str, float]:
        """One update of the discriminator, one of the generator."""
        seeding.seed_dropout(self.seed, STAGE, done)
        rng, B = seeding.rng(self.seed, STAGE, done), self.config.deprivatization.batch
        real_BCHW = pixels.to_float(self.real_NCHW[shown_at(done, len(self.real_NCHW), B, self.seed)])
        with torch.no_grad():
            fake_BCHW = self.generator(torch.randn(B, self.classes, generator=rng).to(self.device))
        loss_D = discriminator_loss(self.discriminator(real_BCHW), self.discriminator(fake_BCHW))
        descend(self.discriminator_adam, loss_D)

        fake_BCHW = self.generator(torch.randn(B, self.classes, generator=rng).to(self.device))
        loss_G = generator_loss(self.discriminator(fake_BCHW))
        if asked := asked_at(done, self.config):
            paid = answers_to(pixels.to_uint8(fake_BCHW[:asked].detach()).cpu().numpy(), self.ask, STAGE)
            index_B = labels(torch.from_numpy(np.array(paid.answers)), paid.output)
            self.index.mean = index_B.double().mean().item()
        # The discriminator judges the same images once more, with another dropout.
        loss_IM = information_maximisation_loss(self.discriminator(fake_BCHW), self.index.mean)
        descend(self.generator_adam, loss_G + self.config.deprivatization.im_weight * loss_IM)
        return {"L_D": loss_D.item(), "L_G": loss_G.item(), "L_IM": loss_IM.item()}


class MeanIndex:
    """The mean class index of the images that the teacher was asked about last; nothing before."""

    def __init__(self) -> None:
        self.mean = 0.0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"mean": self.mean}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from a kept state."""
        self.mean = state_dict["mean"]


def shown_at(step: int, images: int, batch: int, seed: int) -> torch.Tensor:
    """Which images [B] a step shows: shuffled passes over all of them, one after the other without a gap."""
    start, stop = step * batch, (step + 1) * batch
    passes = range(start // images, (stop - 1) // images + 1)
    orders = [torch.randperm(images, generator=seeding.rng(seed, STAGE, "pass", number)) for number in passes]
    return torch.cat(orders)[start - passes[0] * images :][:batch]


def asked_at(step: int, config: Config) -> int:
    """Images of a step's batch that the teacher is asked about: all of them, until the stage's queries end."""
    batch = config.deprivatization.batch
    return min(batch, max(0, config.im_queries - step * batch))


def answers_to(images: Images, ask: Ask, stage: str) -> TransferSet:
    """The answers to all of `images`; without them a step cannot be taken.

    Raises:
        BudgetTooSmall: the key's budget ended before.
    """
    paid = ask(stage, images)
    if len(paid) < len(images):
        raise BudgetTooSmall(
            f"The key's budget ended in {stage}, with {len(paid)} of the {len(images)} answers that its next step "
            "needs: somebody else spends it too. Have it raised; the same command goes on from there."
        )
    return paid
