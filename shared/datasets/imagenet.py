"""ImageNet (ILSVRC 2012) at 224x224 and Tiny ImageNet at 64x64: photographs of things and animals, in colour.

Neither has a download that needs no agreement or patience, so both are read from where they were unpacked.
"""

from pathlib import Path

import numpy as np

from shared.datasets.files import DEFAULT_ROOT, read_from
from shared.datasets.image_tree import read_images, read_tree
from shared.datasets.parts import Dataset, Labelled, divided

SIZE, TINY_SIZE = 224, 64


def load(root: Path | None = None) -> Dataset:
    """Any part of ImageNet that fits into memory: all 1,281,167 training images would take 193 GB, twice.

    Reads `root`/imagenet/train/CLASS/*.JPEG, and for the test `root`/imagenet/val/CLASS/*.JPEG. Which classes and
    how many images is decided by the files that are there.
    """
    folder = (root or DEFAULT_ROOT) / "imagenet"
    with read_from(folder, "ImageNet", "train/CLASS/*.JPEG and val/CLASS/*.JPEG, with the same classes,"):
        train, test = (read_tree(folder / part, SIZE) for part in ("train", "val"))
        classes = [
            sorted(entry.name for entry in (folder / part).iterdir() if entry.is_dir()) for part in ("train", "val")
        ]
        if classes[0] != classes[1]:
            raise ValueError(f"train has {len(classes[0])} classes, and val not the same ones")
    return divided("imagenet", train, test, classes=len(classes[0]), shift=28, flip=True)


def load_tiny(root: Path | None = None) -> Dataset:
    """100,000 images for training of 200 classes; the 10,000 published for validation are the test.

    Reads `root`/tiny-imagenet-200 as tiny-imagenet-200.zip unpacks it.
    """
    folder = (root or DEFAULT_ROOT) / "tiny-imagenet-200"
    with read_from(folder, "Tiny ImageNet", "the folders of tiny-imagenet-200.zip"):
        train = read_tree(folder / "train", TINY_SIZE)
        names = sorted(entry.name for entry in (folder / "train").iterdir() if entry.is_dir())
        lines = (folder / "val" / "val_annotations.txt").read_text().splitlines()
        told = [line.split("\t")[:2] for line in lines]
        images = read_images([folder / "val" / "images" / file for file, _ in told], TINY_SIZE)
        test = Labelled(images, np.array([names.index(name) for _, name in told], np.int64))
    return divided("tiny-imagenet", train, test, classes=len(names), shift=8, flip=True)
