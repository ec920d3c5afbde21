"""Images by name, split once and for all into three disjoint parts.

- *cloud*: labelled, trains the teacher, never seen by the edge;
- *edge*: the device's private images, handed out without labels;
- *test*: labelled, only ever used to report.

Every image is uint8 [C, H, W]. The splits are drawn with a fixed seed and stratified by class: they belong to the
dataset, not to a run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from shared.errors import UnknownDataset

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

SPLIT_SEED = 0
DIGITS_EDGE, DIGITS_TEST = 500, 400
MNIST_EDGE_SHARE = 0.1

BROKEN = (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError)
"""What torchvision raises for files that are missing or broken."""


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Dataset:
    """A dataset's three parts and what training may assume about its images."""

    name: str
    classes: int
    shift: int
    """Pixels by which an image may be moved without changing its class."""
    cloud: Labelled
    edge: Images
    test: Labelled

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.edge.shape[1:]
        return channels, height, width


def digits(root: Path | None = None) -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8x8, grey; 897 cloud, 500 edge, 400 test. Needs no files."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    rest, test = _stratified(np.arange(len(labels)), labels, DIGITS_TEST)
    cloud, edge = _stratified(rest, labels, DIGITS_EDGE)
    return Dataset(
        name="digits",
        classes=10,
        shift=1,
        cloud=Labelled(images[cloud], labels[cloud]),
        edge=images[edge],
        test=Labelled(images[test], labels[test]),
    )


def mnist(root: Path | None = None) -> Dataset:
    """MNIST padded to 32x32: of the 60,000 training images 10 % edge, 90 % cloud; the published 10,000 test.

    Reads `root`/MNIST/raw, and downloads it there with torchvision's loader where it is missing.
    """
    from shared.vision import datasets

    root = root or Path("data")
    try:
        parts = [datasets.MNIST(str(root), train=train, download=True) for train in (True, False)]
    except BROKEN as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UnknownDataset(
            f"MNIST cannot be read from {root / 'MNIST' / 'raw'} nor downloaded to it ({reason.rstrip(':.')}). "
            "Put the four idx files there, or point --data-root at a folder that has them."
        ) from None
    (images, labels), (test_images, test_labels) = (
        (np.pad(p.data.numpy(), ((0, 0), (2, 2), (2, 2)))[:, None], p.targets.numpy().astype(np.int64)) for p in parts
    )
    cloud, edge = _stratified(np.arange(len(labels)), labels, round(MNIST_EDGE_SHARE * len(labels)))
    return Dataset(
        name="mnist",
        classes=10,
        shift=2,
        cloud=Labelled(images[cloud], labels[cloud]),
        edge=images[edge],
        test=Labelled(test_images, test_labels),
    )


LOADERS: dict[str, Callable[[Path | None], Dataset]] = {"digits": digits, "mnist": mnist}


def load(name: str, root: Path | None = None) -> Dataset:
    """Load a dataset by name; `root` is the folder of the datasets that live in files.

    Raises:
        UnknownDataset: no such name, or its files are neither there nor to be had.
    """
    if name not in LOADERS:
        raise UnknownDataset(f"There is no dataset '{name}'. Known: {', '.join(LOADERS)}.")
    return LOADERS[name](root)


def _stratified(indices: NDArray[np.int64], labels: Labels, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rest and `size` of `indices`, both with the classes' shares of the whole."""
    rest, part = train_test_split(indices, test_size=size, random_state=SPLIT_SEED, stratify=labels[indices])
    return np.sort(rest), np.sort(part)
