"""MNIST: handwritten digits, grey, padded from 28x28 to 32x32."""

from pathlib import Path

import numpy as np

from shared.datasets.files import DEFAULT_ROOT, read_from
from shared.datasets.parts import Dataset, Labelled, divided


def load(root: Path | None = None) -> Dataset:
    """60,000 images for training, 10,000 for the test.

    Reads `root`/MNIST/raw, and downloads it there with torchvision's loader where it is missing.
    """
    from shared.vision import datasets

    root = root or DEFAULT_ROOT
    with read_from(root / "MNIST" / "raw", "MNIST", "the four idx files", download=True):
        parts = [datasets.MNIST(str(root), train=train, download=True) for train in (True, False)]
    train, test = (
        Labelled(np.pad(p.data.numpy(), ((0, 0), (2, 2), (2, 2)))[:, None], p.targets.numpy().astype(np.int64))
        for p in parts
    )
    return divided("mnist", train, test, classes=10, shift=2)
