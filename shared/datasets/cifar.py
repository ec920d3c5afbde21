"""CIFAR-10 and CIFAR-100: photographs of things and animals, 32x32, in colour.

Read from the published binary version. The one that torchvision reads holds pickles, and nothing that is read here
may execute, a checked sum or not.
"""

from pathlib import Path

import numpy as np

from shared.datasets.files import DEFAULT_ROOT, fetch_archive, read_from
from shared.datasets.image_tree import read_tree
from shared.datasets.parts import Dataset, Labelled, divided

SHAPE = (3, 32, 32)
SOURCE = "https://www.cs.toronto.edu/~kriz/"


def load_10(root: Path | None = None) -> Dataset:
    """50,000 images for training, 10,000 for the test, of 10 classes.

    Reads `root`/cifar-10-batches-bin; without it `root`/cifar10/{train,test}/CLASS/*.png or .jpg, if that is there;
    else downloads the first.
    """
    root = root or DEFAULT_ROOT
    folder, tree = root / "cifar-10-batches-bin", root / "cifar10"
    if tree.is_dir() and not folder.is_dir():
        with read_from(tree, "CIFAR-10", "train/CLASS/*.png and test/CLASS/*.png"):
            train, test = (read_tree(tree / part, SHAPE[1]) for part in ("train", "test"))
    else:
        batches = [f"data_batch_{number}.bin" for number in range(1, 6)]
        with read_from(folder, "CIFAR-10", "the six files of cifar-10-binary.tar.gz", download=True):
            fetch_archive(folder, SOURCE + "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")
            train = _read([folder / name for name in batches], label_bytes=1)
            test = _read([folder / "test_batch.bin"], label_bytes=1)
    return divided("cifar10", train, test, classes=10, shift=4, flip=True)


def load_100(root: Path | None = None) -> Dataset:
    """50,000 images for training, 10,000 for the test, of 100 classes.

    Reads `root`/cifar-100-binary, and downloads it there where it is missing.
    """
    root = root or DEFAULT_ROOT
    folder = root / "cifar-100-binary"
    with read_from(folder, "CIFAR-100", "train.bin and test.bin of cifar-100-binary.tar.gz", download=True):
        fetch_archive(folder, SOURCE + "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8")
        train, test = (_read([folder / f"{part}.bin"], label_bytes=2) for part in ("train", "test"))
    return divided("cifar100", train, test, classes=100, shift=4, flip=True)


def _read(paths: list[Path], *, label_bytes: int) -> Labelled:
    """Records of `label_bytes` labels, of which the last is the class, and the pixels of one image."""
    records = np.concatenate([np.fromfile(path, np.uint8) for path in paths]).reshape(
        -1, label_bytes + np.prod(SHAPE)
    )
    if not len(records):
        raise ValueError(f"no images in {paths[0].name}")
    images = np.ascontiguousarray(records[:, label_bytes:]).reshape(-1, *SHAPE)
    return Labelled(images, records[:, label_bytes - 1].astype(np.int64))
