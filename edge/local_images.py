"""The images of this device: what the edge may look at, by the name that the config gives.

Of a named dataset the edge sees its own part without labels, and the test part only to report.

Shapes: N images, C channels, H height, W width.
"""

from dataclasses import dataclass
from pathlib import Path

from shared import datasets
from shared.datasets import Images, Labelled


@dataclass(frozen=True)
class LocalImages:
    """Unlabelled images uint8 [N, C, H, W] and what training may assume about them."""

    name: str
    classes: int
    shift: int
    """Pixels by which an image may be moved without changing its class."""
    images: Images

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


def local_images(name: str, data_root: Path | None) -> LocalImages:
    """The device's images.

    Raises:
        UnknownDataset: no such name, or its files are neither there nor to be had.
    """
    dataset = datasets.load(name, data_root)
    return LocalImages(dataset.name, dataset.classes, dataset.shift, dataset.edge)


def labelled_test_images(name: str, data_root: Path | None) -> Labelled:
    """Images that only reports may look at.

    Raises:
        UnknownDataset: no such name, or its files are neither there nor to be had.
    """
    return datasets.load(name, data_root).test
