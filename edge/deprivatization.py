"""Step 1, deprivatization: a GAN on the edge learns to emulate the inverse of the teacher's mapping.

Paper, deprivatization: L_D, L_G, L_IM and L_dp = L_G + L_D + alpha L_IM. The latent is as wide as the
teacher's logits, z ~ N(0, I_K), so that later both models' logits can be fed to the generator. Only images that the
generator made ever leave the device.

L_IM, which is off by default, weighs each generated image by the teacher's confidence y_T in it. The official code
asks again at every step; here y_T = 1 in the first half of the steps, as it always is of top-1 answers. In the second
half L_IM takes its latents from those whose y_T has been paid for: `im_queries` of them in `im_rounds` parts, each
asked once, of the image that the averaged generator made of it then, and used until the end. Step 2 learns from these
answers too.

What keeps a GAN from collapsing on 500 images: a spectrally normalised discriminator that sees real and generated
images only through the same random shifts (Karras et al., NeurIPS 2020), a moving average of the generator, and
Adam's beta_2 of 0.99, where the official code has 0.999.

Shapes: B batch, K classes = latent dimension, C channels, H height, W width.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge.answers import confidence
from edge.config import Config, Deprivatization
from edge.gan import Average, Discriminator, Generator
from edge.images.local_images import LocalImages
from edge.losses import discriminator_loss, generator_loss, information_maximisation_loss
from edge.training import Curves, Training, Watcher
from edge.transfer_set.journal import TransferSet
from shared import compute, pixels, seeding
from shared.recorded import Recorded
from shared.training_state import Stateful

STAGE = "deprivatization"
AT_ONCE = 512
"""Images that are made together."""

Ask = Callable[[str, NDArray[np.uint8]], TransferSet]
"""Stage and images uint8 [N, C, H, W] -> the pairs that were paid for, in order."""


def deprivatize(
    local: LocalImages, ask: Ask, config: Config, *, state: Path | None = None, watcher: Watcher | None = None
) -> tuple[Generator, Curves]:
    """Train the generator on the edge's unlabelled images; it comes back averaged, frozen, in evaluation mode.

    Args:
        local: the edge's images.
        ask: pays for the confidences y_T.
        config: the run's.
        state: file that keeps the training between two starts.
        watcher: told of every step, may ask for a stop.

    Raises:
        Stopped: the watcher asked for it; the state is saved.
    """
    emulation = Emulation(local, ask, config)
    training = Training(STAGE, emulation.parts(), state, watcher or Watcher())
    curves = training.run(config.deprivatization.steps, emulation.step)
    return emulation.average.model, curves


class Emulation:
    """The GAN while it learns."""

    def __init__(self, local: LocalImages, ask: Ask, config: Config) -> None:
        self.ask, self.config, self.seed = ask, config.deprivatization, config.seed
        self.device = compute.device()
        self.augmentation, self.classes = local.augmentation, local.classes
        self.real_NCHW = torch.from_numpy(local.images).to(self.device)
        """uint8: a folder's images may fill a quarter of the memory that their floats would need."""
        seeding.seed_initial_weights(config.seed, STAGE)
        self.generator = Generator(local.classes, local.image_shape, self.config.width).to(self.device)
        self.discriminator = Discriminator(local.image_shape).to(self.device)
        self.average = Average(self.generator, self.config.average)
        # One for each use in a step: a recorded output lasts until the next call.
        self.generated, self.generated_confident = Recorded(self.generator), Recorded(self.generator)
        self.judge_real, self.judge_fake = Recorded(self.discriminator), Recorded(self.discriminator)
        self.judge, self.judge_confident = Recorded(self.discriminator), Recorded(self.discriminator)
        self.generator_adam, self.discriminator_adam = (
            torch.optim.Adam(network.parameters(), self.config.learning_rate, (self.config.beta1, 0.99))
            for network in (self.generator, self.discriminator)
        )
        self.rounds = confidence_rounds(self.config, config.im_queries)
        self.confident_MK = torch.empty(0, local.classes, device=self.device)
        """Latents for which y_T is known."""
        self.confidence_M = torch.empty(0, device=self.device)
        """Their y_T."""

    def parts(self) -> dict[str, Stateful]:
        """All that `step` changes, except y_T, which is asked for again and found among the stored answers."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average.model,
            "generator_adam": self.generator_adam,
            "discriminator_adam": self.discriminator_adam,
        }

    def step(self, done: int) -> dict[str, float]:
        """One update of the discriminator, one of the generator."""
        while self.rounds and self.rounds[0][0] <= done:
            self._learn_confidence(*self.rounds.pop(0))
        rng = seeding.rng(self.seed, STAGE, done)
        B = self.config.batch
        real_BCHW = pixels.to_float(self.real_NCHW[torch.randint(len(self.real_NCHW), (B,), generator=rng)])
        fake_BCHW = self.generated(torch.randn(B, self.classes, generator=rng).to(self.device))

        real_logit_B = self.judge_real(self.augmentation(real_BCHW, rng))
        loss_D = discriminator_loss(real_logit_B, self.judge_fake(self.augmentation(fake_BCHW.detach(), rng)))
        descend(self.discriminator_adam, loss_D)

        self.discriminator.requires_grad_(False)  # its own gradients would be thrown away, and are half its work
        fake_logit_B = self.judge(self.augmentation(fake_BCHW, rng))
        loss_G = generator_loss(fake_logit_B)
        loss_IM = self._information_maximisation(fake_logit_B, rng)
        descend(self.generator_adam, loss_G + self.config.im_weight * loss_IM)
        self.discriminator.requires_grad_(True)
        self.average.update(self.generator)
        return {"L_D": loss_D.item(), "L_G": loss_G.item(), "L_IM": loss_IM.item()}

    def _information_maximisation(self, fake_logit_B: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        if len(self.confidence_M) == 0:  # top-1 answers, or not asked yet: y_T = 1
            return information_maximisation_loss(fake_logit_B, torch.ones_like(fake_logit_B))
        pick_B = torch.randint(len(self.confidence_M), (self.config.batch,), generator=rng).to(self.device)
        confident_BCHW = self.generated_confident(self.confident_MK[pick_B])
        logit_B = self.judge_confident(self.augmentation(confident_BCHW, rng))
        return information_maximisation_loss(logit_B, self.confidence_M[pick_B])

    def _learn_confidence(self, start: int, queries: int) -> None:
        """Pay for y_T of images that the average generator makes at step `start`."""
        z_QK = torch.randn(queries, self.classes, generator=seeding.rng(self.seed, STAGE, "confidence", start))
        z_QK = z_QK.to(self.device)
        paid = self.ask(STAGE, generate(self.average.model, z_QK))
        if len(paid) == 0:  # the key's budget was spent elsewhere meanwhile
            return
        y_Q = confidence(torch.from_numpy(np.array(paid.answers)), paid.output).to(self.device)
        self.confident_MK = torch.cat([self.confident_MK, z_QK[: len(y_Q)]])
        self.confidence_M = torch.cat([self.confidence_M, y_Q])


@torch.no_grad()
def generate(generator: Generator, z_NK: torch.Tensor) -> NDArray[np.uint8]:
    """Latents [N, K] -> images uint8 [N, C, H, W], exactly as they are sent and learnt from."""
    parts = torch.split(z_NK, AT_ONCE)  # all at once, a pool of 10,000 images of 32x32 would take 1.6 GB
    images: NDArray[np.uint8] = torch.cat([pixels.to_uint8(generator(z_BK)) for z_BK in parts]).cpu().numpy()
    return images


def confidence_rounds(config: Deprivatization, queries: int) -> list[tuple[int, int]]:
    """When y_T is asked and for how many images: (step, queries) pairs, spread over the second half."""
    count = min(config.im_rounds, queries)
    return [
        (config.steps // 2 + index * (config.steps - config.steps // 2) // count, len(part))
        for index, part in enumerate(np.array_split(np.arange(queries), count) if count else [])
    ]


def descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One update of what `optimiser` holds."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
