"""Folders of image files, one folder for each class, read into memory."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from shared.datasets.parts import Images, Labelled
from shared.errors import UnknownDataset

CHANNELS = 3
MEMORY_SHARE = 0.3
"""Of the machine's memory; dividing the images between cloud and edge copies them once."""


def read_tree(folder: Path, size: int) -> Labelled:
    """Images of `folder`/CLASS/... in colour, `size` pixels a side; classes are numbered in the order of their names.

    Raises:
        OSError, ValueError: no folders, no images in one of them, or a file that is no image.
        UnknownDataset: more than memory holds.
    """
    from shared.vision import datasets

    samples: list[tuple[str, int]] = datasets.ImageFolder(str(folder)).samples
    labels = np.array([label for _, label in samples], np.int64)
    return Labelled(read_images([Path(path) for path, _ in samples], size), labels)


def read_images(files: Sequence[Path], size: int, memory: int | None = None) -> Images:
    """The square in the middle of each image, resized: uint8 [N, 3, size, size].

    Args:
        files: image files of any size and colours.
        size: pixels a side.
        memory: bytes that the machine has; by default it is asked.

    Raises:
        OSError: a file that is no image.
        UnknownDataset: more than memory holds.
    """
    memory = memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = len(files) * CHANNELS * size * size
    if needed > MEMORY_SHARE * memory:
        raise UnknownDataset(
            f"{len(files)} images of {size}x{size} pixels take {needed / 1e9:.1f} GB, more than {MEMORY_SHARE:.0%} "
            f"of this machine's {memory / 1e9:.1f} GB. Leave fewer files in each class's folder."
        )
    images = np.empty((len(files), CHANNELS, size, size), np.uint8)
    for row, file in enumerate(files):
        with Image.open(file) as image:
            square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
        images[row] = np.asarray(square).transpose(2, 0, 1)
    return images
