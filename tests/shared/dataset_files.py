"""Small files in the layouts of published datasets, which tests write for themselves."""

import struct
from pathlib import Path
from urllib.request import build_opener, install_opener

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from PIL import Image

from shared import datasets
from shared.datasets import Dataset, Images


def parts(dataset: Dataset) -> list[Images]:
    return [dataset.cloud.images, dataset.edge, dataset.test.images]


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No download, wherever the test runs: nobody listens at the proxy."""
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    install_opener(build_opener())  # urllib keeps the one that it made first, with the proxies of that moment


def assert_two_loads_are_alike(name: str, root: Path) -> None:
    one, other = datasets.load(name, root), datasets.load(name, root)
    assert all((a == b).all() for a, b in zip(parts(one), parts(other), strict=True))


def numbered(count: int, channels: int, size: int) -> Images:
    """Noise with its number in the first two pixels of the first row, [N, C, H, W]."""
    images = np.random.default_rng(0).integers(0, 256, (count, channels, size, size), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(count), 256)
    return images


def numbers(images: Images) -> NDArray[np.int64]:
    """What `numbered` wrote."""
    return images[:, 0, 0, 0].astype(np.int64) * 256 + images[:, 0, 0, 1]


def write_idx(path: Path, values: NDArray[np.uint8]) -> None:
    """The format of the published files: two zero bytes, 8 for uint8, the number of axes, their sizes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


def write_mnist(root: Path, *, train: int = 300, test: int = 50) -> None:
    for prefix, count in (("train", train), ("t10k", test)):
        write_idx(root / "MNIST" / "raw" / f"{prefix}-images-idx3-ubyte", numbered(count, 1, 28)[:, 0])
        write_idx(root / "MNIST" / "raw" / f"{prefix}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))


def write_mat(path: Path, count: int, *, ten_for_zero: bool) -> None:
    """The layout of SVHN's files and of the published synthetic digits."""
    labels = np.arange(count) % 10
    labels[(labels == 0) & ten_for_zero] = 10
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"X": numbered(count, 3, 32).transpose(2, 3, 1, 0), "y": labels[:, None]})


def write_image(path: Path, image: Images) -> None:
    """[3, H, W] as a file of the format that the name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.transpose(1, 2, 0)).save(path)
