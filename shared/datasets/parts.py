"""A dataset's three parts, and how labelled training images become two of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.augmentation import Augmentation
from shared.errors import UnknownDataset

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

SPLIT_SEED = 0
EDGE_SHARE = 0.1


@dataclass(frozen=True)
class Labelled:
    """Images uint8 [N, C, H, W] and their classes int64 [N]."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Dataset:
    """A dataset's three parts and what training may assume about its images."""

    name: str
    classes: int
    shift: int
    """Pixels by which an image may be moved without changing its class."""
    cloud: Labelled
    edge: Images
    test: Labelled
    flip: bool = False
    """Whether left and right may be swapped without changing the class."""

    @property
    def augmentation(self) -> Augmentation:
        """How training may change the images."""
        return Augmentation(self.shift, self.flip)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.edge.shape[1:]
        return channels, height, width


def divided(name: str, train: Labelled, test: Labelled, *, classes: int, shift: int, flip: bool = False) -> Dataset:
    """A dataset of published parts: a tenth of the training images becomes the edge's, the rest the cloud's.

    Raises:
        UnknownDataset: too few images to give each part some of every class.
    """
    labels = train.labels
    try:
        cloud, edge = stratified(np.arange(len(labels)), labels, round(EDGE_SHARE * len(labels)))
    except ValueError as error:
        raise UnknownDataset(
            f"The {len(labels)} training images of '{name}' cannot be divided between cloud and edge: {error}"
        ) from None
    return Dataset(
        name=name,
        classes=classes,
        shift=shift,
        flip=flip,
        cloud=Labelled(train.images[cloud], labels[cloud]),
        edge=train.images[edge],
        test=test,
    )


def stratified(indices: NDArray[np.int64], labels: Labels, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rest and `size` of `indices`, both with the classes' shares of the whole."""
    from sklearn.model_selection import train_test_split  # takes seconds, and a folder of images needs none of it

    rest, part = train_test_split(indices, test_size=size, random_state=SPLIT_SEED, stratify=labels[indices])
    return np.sort(rest), np.sort(part)
