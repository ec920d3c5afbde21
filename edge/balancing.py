"""Which generated images are worth a query: no class is to be missing.

A generator that learnt from few images may make a class seldom. Most of the pool is therefore asked about as it
comes. Where the answers show a class that is short, an early student of them looks at many more images, for nothing,
and those that it takes for the class go before the rest of the pool. Where none is short the pool is that of
`fill_pool`. To make all classes equally many was no better, nor to choose within a class what lies far apart (see
`edge/experiments/LOG.md`).

Shapes: N pairs, M candidates, K classes.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from edge.answers import labels
from edge.config import Config
from edge.deprivatization import Ask
from edge.distillation import STAGE, drawn_images, predict
from edge.gan import Generator
from edge.transfer_set.journal import TransferSet

EARLY_STAGE = "early student"
EARLY_SHARE = 0.5
"""Of the student's steps, those that the early student takes."""
CANDIDATES = 20
"""Images looked at for each query of the last part."""
FEWEST = 0.5
"""Of an equal share of the pool: a class with fewer answers is short."""


def drawn_queries(queries: int, config: Config) -> int:
    """Queries of the part of the pool that is asked about as it comes."""
    return min(queries, max(2, round(config.distillation.drawn_share * queries)))


def fill_balanced_pool(
    generator: Generator, ask: Ask, queries: int, config: Config, early: Callable[[TransferSet], nn.Module]
) -> None:
    """Ask about `queries` images: those of `fill_pool`, but for what a short class needs.

    `early` makes a student of the answers to the first.
    """
    drawn, images = drawn_queries(queries, config), drawn_images(generator, queries, config)
    first = ask(STAGE, images[:drawn])
    if len(first) < drawn or drawn == queries:  # the key's budget was spent elsewhere meanwhile, or nothing is left
        return
    K, left = generator.project.in_features, images[drawn:]
    known_N, fewest = labels(torch.from_numpy(np.array(first.answers)), first.output), FEWEST * queries / K
    if torch.bincount(known_N, minlength=K).min() < fewest * drawn / queries:
        offered = np.concatenate([left, drawn_images(generator, (CANDIDATES - 1) * len(left), config, "candidates")])
        class_M = predict(early(first), offered).argmax(1)
        left = offered[filled_up(class_M, known_N, len(left), classes=K, fewest=fewest).numpy()]
    ask(STAGE, left)


def early_config(config: Config, share: float) -> Config:
    """How an early student learns: for a share of the steps, and from its answers alone."""
    alone = {"image_weight": 0.0, "kl_weight": 1.0, "consistency_weight": 0.0}
    step = config.distillation.model_copy(update={"steps": max(1, round(share * config.distillation.steps)), **alone})
    return config.model_copy(update={"distillation": step})


def filled_up(
    class_M: torch.Tensor, known_N: torch.Tensor, count: int, *, classes: int, fewest: float
) -> torch.Tensor:
    """Indices [count] of candidates: those that short classes need, the most needed first, then all as they come.

    Args:
        class_M: of the candidates, as the early student has them.
        known_N: of the pairs that are there.
        count: how many to choose, at most M.
        classes: K.
        fewest: pairs that every class is to have.
    """
    have_K = torch.bincount(known_N, minlength=classes)
    # A candidate's turn: how many pairs of its class there are before it is chosen. Fewest first.
    turn_M = torch.empty(len(class_M))
    for k in range(classes):
        of_class = class_M == k
        turn_M[of_class] = have_K[k] + torch.arange(int(of_class.sum()), dtype=turn_M.dtype)
    return torch.argsort(turn_M.clamp(max=fewest), stable=True)[:count]
