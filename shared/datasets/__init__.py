"""Images by name, split once and for all into three disjoint parts.

- *cloud*: labelled, trains the teacher, never seen by the edge;
- *edge*: the device's private images, handed out without labels;
- *test*: labelled, only ever used to report.

Every image is uint8 [C, H, W]. The splits are drawn with a fixed seed and stratified by class: they belong to the
dataset, not to a run. Server and edge each name a dataset of their own, so a teacher of one may be asked about the
images of another, where both have the same shape and classes.
"""

from collections.abc import Callable
from pathlib import Path

from shared.datasets import cifar, digits, imagenet, mnist, svhn, synthetic_digits
from shared.datasets.parts import Dataset, Images, Labelled, Labels
from shared.errors import UnknownDataset

__all__ = ["LOADERS", "Dataset", "Images", "Labelled", "Labels", "load"]

LOADERS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": digits.load,
    "mnist": mnist.load,
    "synthetic-digits": synthetic_digits.load,
    "synthetic-digits-grey": synthetic_digits.load_grey,
    "svhn": svhn.load,
    "cifar10": cifar.load_10,
    "cifar100": cifar.load_100,
    "tiny-imagenet": imagenet.load_tiny,
    "imagenet": imagenet.load,
}


def load(name: str, root: Path | None = None) -> Dataset:
    """Load a dataset by name; `root` is the folder of the datasets that live in files.

    Raises:
        UnknownDataset: no such name, or its files are neither there nor to be had.
    """
    if name not in LOADERS:
        raise UnknownDataset(f"There is no dataset '{name}'. Known: {', '.join(LOADERS)}.")
    return LOADERS[name](root)
