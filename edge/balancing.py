"""Which generated images are worth a query: as many of every class as of the others.

A generator that learnt from few images makes some classes seldom. A part of the pool is therefore asked about as it
comes. An early student learns from these answers and looks at many more images, for nothing; the rest of the budget
goes to those that it takes for the classes that are short. Within a class they are drawn: to choose there what lies
far apart was no better (see `edge/experiments/LOG.md`).

Shapes: N pairs, M candidates, K classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from edge.answers import labels
from edge.config import Config
from edge.deprivatization import Ask, generate
from edge.distillation import STAGE, fill_pool, predict
from edge.gan import Generator
from edge.transfer_set.journal import Images, TransferSet
from shared import seeding

EARLY_STAGE = "early student"
EARLY_SHARE = 0.5
"""Of the student's steps, those that the early student takes."""
CANDIDATES = 5
"""Images looked at for each that is chosen."""


def drawn_queries(queries: int, config: Config) -> int:
    """Queries of the part of the pool that is asked about as it comes."""
    return min(queries, max(2, round(config.distillation.drawn_share * queries)))


def fill_balanced_pool(
    generator: Generator, ask: Ask, queries: int, config: Config, early: Callable[[TransferSet], nn.Module]
) -> None:
    """Ask about `queries` images, the later ones chosen; `early` makes a student of the answers to the first."""
    drawn = drawn_queries(queries, config)
    first = fill_pool(generator, ask, drawn, config)
    if len(first) < drawn or drawn == queries:  # the key's budget was spent elsewhere meanwhile, or nothing is left
        return
    images = candidates(generator, CANDIDATES * (queries - drawn), config)
    class_M = predict(early(first), images).argmax(1)
    known_N = labels(torch.from_numpy(np.array(first.answers)), first.output)
    chosen = balanced(class_M, known_N, queries - drawn, classes=generator.project.in_features)
    ask(STAGE, images[chosen.numpy()])


def early_config(config: Config, share: float) -> Config:
    """How an early student learns: for a share of the steps, and from its answers alone."""
    alone = {"image_weight": 0.0, "kl_weight": 1.0, "consistency_weight": 0.0}
    step = config.distillation.model_copy(update={"steps": max(1, round(share * config.distillation.steps)), **alone})
    return config.model_copy(update={"distillation": step})


def candidates(generator: Generator, count: int, config: Config) -> Images:
    """Images uint8 [M, C, H, W] that the generator makes beyond those of the first part."""
    K, device = generator.project.in_features, next(generator.parameters()).device
    z_MK = torch.randn(count, K, generator=seeding.rng(config.seed, STAGE, "candidates"))
    return generate(generator, z_MK.to(device))


def balanced(class_M: torch.Tensor, known_N: torch.Tensor, count: int, classes: int) -> torch.Tensor:
    """Indices [count] of candidates that make the classes of all pairs as equal as can be, the most needed first.

    Args:
        class_M: of the candidates, as the early student has them.
        known_N: of the pairs that are there.
        count: how many to choose, at most M.
        classes: K.
    """
    have_K = torch.bincount(known_N, minlength=classes)
    # A candidate's turn: how many pairs of its class there would be once it is chosen. Fewest first.
    turn_M = torch.empty_like(class_M)
    for k in range(classes):
        of_class = class_M == k
        turn_M[of_class] = have_K[k] + torch.arange(int(of_class.sum()))
    return torch.argsort(turn_M, stable=True)[:count]
