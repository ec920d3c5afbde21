"""DB3KD: soft labels made of classes alone, from how far an image is from the teacher's decision boundaries.

Wang, "Zero-Shot Knowledge Distillation from a Decision-Based Black-Box Model", ICML 2021. What is sent: real images,
and points on the way from one to another.

    d_j = distance from x, of class c, to where the teacher begins to say j, on the way to an image of class j
    l_j = 1 / d_j  for j != c,   l_c = sum_j l_j;   the soft label of x is softmax(l)

Distances are L2 norms of images in [-1, 1]. Half of the budget, and what no walk can use, asks for the classes of
real images. The rest walks: for as many of them as it pays, halving the way to the nearest image of every other class
`STEPS` times. The others get the paper's cheaper form, the distance to the nearest image of the class itself, times
the share of the way at which the walks met the boundary. The paper's walks take hundreds of queries per class and
image, and its minimal boundary distances, which look for a shorter way from there by zeroth-order gradients,
thousands: neither is to be had for the budgets that are compared here. The code released with MEKD clamps images in
[-1, 1] to [0, 1], and takes the true labels of the images for c; here c is the teacher's.

Shapes: N images, K classes, W walks, C channels, H height, W width.
"""

import numpy as np
from numpy.typing import NDArray

from edge.asker import Asker
from edge.images.local_images import LocalImages
from edge.rivals import kd
from edge.transfer_set.journal import Images, TransferSet
from shared.protocol import LOGITS

STEPS = 6
"""Halvings of a way; the boundary is known to a 64th of it."""
FLOAT_OF_UINT8 = 2 / 255
"""Pixels are compared in [-1, 1]."""

Floats = NDArray[np.float32]
Whole = NDArray[np.int64]


def sizes(queries: int, images: int, classes: int) -> list[int]:
    """Questions for classes, and at most how many at every step of the walks."""
    walks = (queries - min(images, -(-queries // 2))) // (STEPS * (classes - 1)) * (classes - 1)
    labelled = min(images, queries - walks * STEPS)
    return [labelled, *([walks] * STEPS if walks else [])]


def fill_pool(asker: Asker) -> TransferSet:
    """Ask for classes, walk, and return the real images with their soft labels as logits."""
    local: LocalImages = asker.local
    labelled, *steps = sizes(asker.queries, len(local.images), local.classes)
    real = asker.ask(kd.drawn(local, labelled, asker.config.seed))
    if len(real) == 0:
        return real
    label_N = np.asarray(real.answers, np.int64)
    nearest_NK, distance_NK = nearest_of_every_class(real.images, label_N, local.classes)
    if steps and len(real) == labelled:  # else the key's budget was spent elsewhere meanwhile
        walkers, share_WK = _walk(asker, real.images, label_N, nearest_NK, steps[0] // (local.classes - 1))
        met = np.isfinite(share_WK)
        share_NK = np.full_like(distance_NK, share_WK[met].mean() if met.any() else 1.0)
        share_NK[walkers] = np.where(met, share_WK, share_NK[walkers])
        distance_NK *= share_NK
    logits_NK = robustness_logits(distance_NK, label_N)
    # The student's side of KL is softened by the temperature, and softmax(l) is soft already.
    return TransferSet(real.images, logits_NK * np.float32(asker.config.distillation.temperature), LOGITS)


def nearest_of_every_class(images: Images, label_N: Whole, classes: int) -> tuple[Whole, Floats]:
    """For every image and class the nearest image of that class, and the distance to it.

    Returns:
        Places int64 [N, K] and distances float32 [N, K]; infinite for the own class, and for one that nobody is of.
    """
    flat_ND = images.reshape(len(images), -1).astype(np.float32) * FLOAT_OF_UINT8
    square_N = (flat_ND**2).sum(1)
    nearest_NK = np.zeros((len(images), classes), np.int64)
    distance_NK = np.full((len(images), classes), np.inf, np.float32)
    for k in range(classes):
        places = np.flatnonzero(label_N == k)
        others = np.flatnonzero(label_N != k)
        if len(places) and len(others):
            square = square_N[others, None] + square_N[places] - 2 * flat_ND[others] @ flat_ND[places].T
            nearest_NK[others, k] = places[square.argmin(1)]
            distance_NK[others, k] = np.sqrt(square.min(1).clip(min=0))
    return nearest_NK, distance_NK


def robustness_logits(distance_NK: Floats, label_N: Whole) -> Floats:
    """The logits l [N, K] of distances; the own class's are not looked at."""
    own = label_N[:, None] == np.arange(distance_NK.shape[1])
    # Two equal images of different classes cannot come from one teacher; the floor is for rounding.
    logits_NK = np.where(own, 0, 1 / np.maximum(distance_NK, FLOAT_OF_UINT8)).astype(np.float32)
    return np.where(own, logits_NK.sum(1, keepdims=True), logits_NK)


def _walk(asker: Asker, images: Images, label_N: Whole, nearest_NK: Whole, count: int) -> tuple[Whole, Floats]:
    """Halve the ways of the first `count` images to every other class that was seen.

    Returns:
        Places of the walkers [W], and the share of the way at which the class began [W, K]; infinite where there is
        no way.
    """
    seen_K = np.isin(np.arange(nearest_NK.shape[1]), label_N)
    walkers = np.arange(min(count, len(images)))
    w, k = np.nonzero(seen_K & (label_N[walkers, None] != np.arange(len(seen_K))))
    start, end = images[walkers[w]].astype(np.float32), images[nearest_NK[walkers[w], k]].astype(np.float32)
    low, high = np.zeros(len(w), np.float32), np.ones(len(w), np.float32)
    for _ in range(STEPS):
        middle = (low + high) / 2
        share = middle.reshape(-1, 1, 1, 1)
        answered = asker.ask(np.asarray(((1 - share) * start + share * end).round(), np.uint8))
        if len(answered) < len(w):  # the key's budget was spent elsewhere meanwhile
            break
        there = np.asarray(answered.answers) == k
        low, high = np.where(there, low, middle), np.where(there, middle, high)
    share_WK = np.full((len(walkers), len(seen_K)), np.inf, np.float32)
    share_WK[w, k] = high
    return walkers, share_WK
