"""scikit-learn's digits: handwritten, 8x8, grey, installed with the library."""

from pathlib import Path

import numpy as np

from shared.datasets.parts import Dataset, Labelled, stratified

EDGE, TEST = 500, 400


def load(root: Path | None = None) -> Dataset:
    """1,797 images: 897 cloud, 500 edge, 400 test. Needs no files."""
    from sklearn.datasets import load_digits  # here and not above: whoever has other images need not wait for it

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    rest, test = stratified(np.arange(len(labels)), labels, TEST)
    cloud, edge = stratified(rest, labels, EDGE)
    return Dataset(
        name="digits",
        classes=10,
        shift=1,
        cloud=Labelled(images[cloud], labels[cloud]),
        edge=images[edge],
        test=Labelled(images[test], labels[test]),
    )
