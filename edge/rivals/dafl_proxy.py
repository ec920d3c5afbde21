"""DAFL-proxy: data-free learning, with the student in the teacher's place where gradients are needed.

After Chen et al., "Data-Free Learning of Student Networks", ICCV 2019. What is sent: synthetic images, of a generator
that saw no image of anybody.

DAFL is *not possible* behind an API: its generator is trained through the teacher, by the teacher's gradients and
features. Here an early student stands in for the teacher (the proxy), and the term of the activations is left out;
the generator is step 1's, with K latents, where the released one has 100 and normalises its images over the batch:

    L_OH = mean cross-entropy(S(G(z)), argmax S(G(z)))      of one class each
    L_IE = sum_k p_k log10 p_k,  p = mean softmax(S(G(z)))  all classes equally often
    L_G  = L_OH + 5 L_IE

The budget is spent in rounds of equal size: the first about images of the untrained generator, each later one after
the proxy has learnt from all answers so far and the generator from the proxy.

Shapes: B batch, K classes = latent dimension, C channels, H height, W width.
"""

import math

import torch
import torch.nn.functional as F

from edge.asker import Asker, evenly
from edge.deprivatization import descend, generate
from edge.distillation import STAGE
from edge.gan import Generator
from edge.training import Training
from edge.transfer_set.journal import Images, TransferSet
from shared import compute, seeding

ROUNDS = 32
EARLY_SHARE = 1 / 16
"""Many rounds with a proxy that has learnt little were better than few with one that has learnt more, on labelled
images of the cloud (see `edge/experiments/LOG.md`)."""
ENTROPY_WEIGHT = 5.0
LEARNING_RATE = 1e-3
"""Adam's. The released 0.2 turns the generator's images into noise at once."""


def sizes(queries: int) -> list[int]:
    """Questions by round, at least two."""
    return evenly(queries, max(1, min(ROUNDS, queries // 2)))


def generator_loss(logits_BK: torch.Tensor) -> torch.Tensor:
    """L_G of the proxy's logits to generated images."""
    one_hot = F.cross_entropy(logits_BK, logits_BK.argmax(1))
    share_K = logits_BK.softmax(1).mean(0)
    negative_entropy = (share_K * share_K.clamp_min(torch.finfo(share_K.dtype).tiny).log()).sum() / math.log(10)
    return one_hot + ENTROPY_WEIGHT * negative_entropy


def fill_pool(asker: Asker) -> None:
    """Ask about synthetic images, in rounds."""
    config, rounds = asker.config, sizes(asker.queries)
    seeding.seed_initial_weights(config.seed, STAGE, "data-free generator")
    generator = Generator(asker.local.classes, asker.local.image_shape, config.deprivatization.width)
    generator = generator.to(compute.device())
    adam = torch.optim.Adam(generator.parameters(), LEARNING_RATE)
    steps = -(-config.deprivatization.steps // max(1, len(rounds) - 1))

    def choose(number: int, pairs: TransferSet | None) -> Images:
        if pairs is not None:
            proxy = asker.learn(pairs).eval().requires_grad_(False)
            generator.train()

            def step(done: int) -> dict[str, float]:
                z_BK = _latents(config.deprivatization.batch, asker, "step", number, done)
                loss = generator_loss(proxy(generator(z_BK)))
                descend(adam, loss)
                return {"L_G": loss.item()}

            Training(f"data-free generator {number}", {}, None, asker.watcher).run(steps, step)
        return generate(generator.eval(), _latents(rounds[number], asker, "round", number))

    asker.in_rounds(rounds, choose)


def _latents(count: int, asker: Asker, *place: str | int) -> torch.Tensor:
    rng = seeding.rng(asker.config.seed, STAGE, "data-free", *place)
    return torch.randn(count, asker.local.classes, generator=rng).to(compute.device())
