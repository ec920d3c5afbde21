"""AM, active mixup: first real images, then mixtures of them of which a student is least sure.

Wang et al., "Neural Networks Are More Productive Teachers Than Human Raters: Active Mixup for Data-Efficient
Knowledge Distillation from a Blackbox Model", CVPR 2020. What is sent: real images, and mixtures of two of them.

    w x_1 + (1 - w) x_2,   w in {0.30, 0.34, ..., 0.70}

Half of the budget goes to real images, or less where there are not as many, the rest to three rounds. In each, a
student of all answers so far looks at many pairs; of a pair the mixture counts of which it is least sure, and the
least sure pairs of all are asked about. A pair is asked about once. The code released with MEKD drops other pairs
than those that it asked about, and may ask about one in every round.

Shapes: N real images, M candidate pairs, C channels, H height, W width.
"""

import itertools

import numpy as np
import torch
from torch import nn

from edge.asker import Asker, evenly
from edge.distillation import STAGE, predict
from edge.images.local_images import LocalImages
from edge.rivals import kd
from edge.transfer_set.journal import Images, TransferSet
from shared import seeding

ROUNDS = 3
EARLY_SHARE = 0.5
WEIGHTS = tuple(np.arange(0.30, 0.71, 0.04).round(2).tolist())
CANDIDATES = 5
"""Pairs looked at for each that is asked about."""


def sizes(queries: int, images: int) -> list[int]:
    """Questions about real images, of which there are `images`, and of the rounds after it."""
    half = -(-queries // 2)
    enough = next(real for real in itertools.count(half) if most(real) >= queries)  # of 2 and 4 it is more
    real = min(images, enough)
    return [real, *evenly(queries - real, ROUNDS)]


def most(images: int) -> int:
    """Questions that can be made of so many images: each, and each pair."""
    return images + images * (images - 1) // 2


def fill_pool(asker: Asker) -> None:
    """Ask about real images, then about mixtures."""
    local: LocalImages = asker.local
    rounds = sizes(asker.queries, len(local.images))
    real = kd.drawn(local, rounds[0], asker.config.seed)
    used: set[tuple[int, int]] = set()

    def choose(number: int, pairs: TransferSet | None) -> Images:
        if pairs is None:
            return real
        rng = seeding.rng(asker.config.seed, STAGE, "mixtures", number)
        first_M, second_M = candidates(len(real), CANDIDATES * rounds[number], used, rng)
        mixed, confidence_M = least_sure(asker.learn(pairs), real, first_M, second_M)
        chosen = confidence_M.argsort(stable=True)[: rounds[number]].numpy()
        used.update(zip(first_M[chosen].tolist(), second_M[chosen].tolist(), strict=True))
        chosen_images: Images = mixed[chosen]
        return chosen_images

    asker.in_rounds(rounds, choose)


def candidates(
    images: int, count: int, used: set[tuple[int, int]], rng: torch.Generator
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """At most `count` different pairs of `images`, none of them used: places of the first and of the second one."""
    first, second = torch.triu_indices(images, images, 1) if images < 2048 else _random_pairs(images, 2 * count, rng)
    order = torch.randperm(len(first), generator=rng)
    fresh = [
        (one, other)
        for one, other in zip(first[order].tolist(), second[order].tolist(), strict=True)
        if (one, other) not in used
    ]
    pairs = np.array(fresh[:count], np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def least_sure(
    student: nn.Module,
    images: Images,
    first_M: np.ndarray[tuple[int], np.dtype[np.int64]],
    second_M: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> tuple[Images, torch.Tensor]:
    """Of every pair the mixture uint8 [M, C, H, W] of which the student is least sure, and how sure it is of it."""
    best_M = torch.full((len(first_M),), torch.inf)
    best = np.empty((len(first_M), *images.shape[1:]), np.uint8)
    for weight in WEIGHTS:
        mixed = mixture(images[first_M], images[second_M], weight)
        confidence_M = predict(student, mixed).softmax(1).amax(1)
        less_sure = (confidence_M < best_M).numpy()
        best[less_sure] = mixed[less_sure]
        best_M = torch.minimum(best_M, confidence_M)
    return best, best_M


def mixture(first: Images, second: Images, weight: float) -> Images:
    """Of images uint8 [M, C, H, W], rounded."""
    return np.asarray((weight * first.astype(np.float32) + (1 - weight) * second).round(), np.uint8)


def _random_pairs(images: int, count: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """At most `count` different pairs, the smaller place first, where all pairs would be too many to list."""
    drawn = torch.randint(images, (2 * count, 2), generator=rng).sort(1).values
    distinct = torch.unique(drawn[drawn[:, 0] < drawn[:, 1]], dim=0)
    kept = distinct[torch.randperm(len(distinct), generator=rng)[:count]]
    return kept[:, 0], kept[:, 1]
