"""SVHN, cropped digits: photographed house numbers, 32x32, in colour, with their neighbours at the sides."""

from pathlib import Path

import numpy as np

from shared.datasets.files import DEFAULT_ROOT, read_from
from shared.datasets.parts import Dataset, Labelled, divided


def load(root: Path | None = None) -> Dataset:
    """73,257 images for training, 26,032 for the test; the third file, `extra`, is left aside.

    Reads `root`/SVHN, and downloads the files there with torchvision's loader where they are missing.
    """
    folder = (root or DEFAULT_ROOT) / "SVHN"
    names = [f"{split}_32x32.mat" for split in ("train", "test")]
    with read_from(folder, "SVHN", " and ".join(names), download=True):
        if not all((folder / name).exists() for name in names):
            from shared.vision import datasets

            for split in ("train", "test"):
                datasets.SVHN(str(folder), split=split, download=True)
        train, test = (read_mat(folder / name) for name in names)
    return divided("svhn", train, test, classes=10, shift=2)


def read_mat(path: Path) -> Labelled:
    """The layout that SVHN and other sets of digits share: X [H, W, C, N] and y [N, 1], where 10 may stand for 0.

    Raises:
        OSError, ValueError, KeyError: it is something else.
    """
    import scipy.io  # here and not above: who reads other images need not wait for it
    from scipy.io.matlab import MatReadError

    try:
        content = scipy.io.loadmat(path, variable_names=["X", "y"])
    except (MatReadError, NotImplementedError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    images = np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1), np.uint8)
    return Labelled(images, content["y"].reshape(-1).astype(np.int64) % 10)
