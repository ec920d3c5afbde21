"""Image files that tests write."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def write_picture(path: Path, pixels: Pixels) -> Path:
    """Grey [H, W] or colour [H, W, 3]; the name decides the format, folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_pictures(folder: Path, count: int, side: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """`count` random colour pictures `000.png`, ... in `folder`; returns them as uint8 [N, 3, side, side]."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)
    for index, picture in enumerate(pixels):
        write_picture(folder / f"{index:03}.png", picture)
    return pixels.transpose(0, 3, 1, 2)
