"""The images of this device: what the edge may look at, by what the config names.

Of a named dataset the edge sees its own part without labels, and the test part only to report. A folder of image
files is the device's own: sent only with leave, by methods that are made so, and copied nowhere else; its subfolders'
names are not looked at. Its path is no part of the config; what makes it the same run is the digest of its images.

Shapes: N images, C channels, H height, W width.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.config import FOLDER, Config
from edge.images.image_files import MODES, taken_shape
from edge.images.image_folder import list_images, read_images
from edge.training import Watcher
from edge.transfer_set.journal import Journal, digests
from shared import datasets
from shared.augmentation import Augmentation
from shared.datasets import Images, Labelled
from shared.errors import InvalidConfig, RunMismatch, UnknownDataset
from shared.protocol import ModelMetadata

NOTE = "local_images"
FEWEST = 16
SMALLEST_SIDE = 8
"""Pixels; below, the student's three stages have nothing left to look at."""
LARGEST_SIDE_TRIED = 32
"""Pixels."""
LARGE_BYTES = 2**29


@dataclass(frozen=True)
class LocalImages:
    """Unlabelled images uint8 [N, C, H, W] and what training may assume about them."""

    name: str
    classes: int
    augmentation: Augmentation
    """How training may change an image without changing its class."""
    images: Images

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width


def named_images(name: str, data_root: Path | None) -> LocalImages:
    """The edge's part of a named dataset.

    Raises:
        UnknownDataset: no such name, its files are neither there nor to be had, or too few.
    """
    dataset = datasets.load(name, data_root)
    return LocalImages(dataset.name, dataset.classes, dataset.augmentation, dataset.edge)


def local_images(
    config: Config, data_root: Path | None, metadata: ModelMetadata, watcher: Watcher | None = None
) -> LocalImages:
    """The device's images.

    Args:
        config: names a dataset, or says `folder`.
        data_root: folder of the datasets that live in files, or of the device's own images.
        metadata: the teacher's; says how a folder's images are to be.
        watcher: told of every file of a folder, may ask for a stop.

    Raises:
        UnknownDataset: no such name, its files are neither there nor to be had, or too few.
        InvalidConfig: images that the method is not made for, or nobody says how many classes there are.
        InvalidImage: files that cannot be read.
        Stopped: the watcher asked for it.
    """
    if config.dataset == FOLDER:
        return _own_images(config, data_root, metadata, watcher or Watcher())
    named = named_images(config.dataset, data_root)
    return replace(named, augmentation=named.augmentation.overridden(config.shift, config.flip))


def some_images(config: Config, data_root: Path | None, shape: tuple[int, int, int], count: int) -> Images | None:
    """At most `count` of the device's images, to look at; None of a folder that is not named.

    Raises:
        UnknownDataset, InvalidImage: as `local_images`.
    """
    if config.dataset != FOLDER:
        return datasets.load(config.dataset, data_root).edge[:count]
    if data_root is None:
        return None
    paths = paths_of_images(data_root)
    every = -(-len(paths) // count)  # from all over the folder: neighbours are often of one class
    return read_images(paths[::every], shape, Watcher())


def private_images(
    config: Config, data_root: Path | None, shape: tuple[int, int, int], journal: Path, watcher: Watcher
) -> Images:
    """The images that a run learnt from, once more: uint8 [N, *shape].

    Args:
        config: the run's.
        data_root: folder of the datasets that live in files, or of the device's own images.
        shape: channels, height and width that its student sees.
        journal: the run's, which knows what it began with; where there is none, nobody does.
        watcher: told of every file of a folder, may ask for a stop.

    Raises:
        UnknownDataset: a folder that is not named or holds no images, or as `local_images`.
        RunMismatch: they are others.
        InvalidImage, Stopped: as `local_images`.
    """
    if config.dataset != FOLDER:
        images = datasets.load(config.dataset, data_root).edge
    elif data_root is None:
        raise UnknownDataset("The run learnt from a folder of images. Name it with --data FOLDER.")
    else:
        images = unlabelled_images(data_root, shape, watcher)
    now, then = _identity(images), None
    if journal.exists():
        with Journal(journal) as kept:
            then = kept.notes().get(NOTE)
    if then not in (None, now):
        raise RunMismatch(
            f"The run learnt from {then['count']} images, now there are {now['count']}, and not the same ones. Name "
            "the folder that it learnt from."
        )
    return images


def unlabelled_images(folder: Path, shape: tuple[int, int, int], watcher: Watcher) -> Images:
    """All images below a folder of the device's own, cropped and scaled: uint8 [N, *shape].

    Raises:
        UnknownDataset: there are none.
        InvalidImage, Stopped: as `local_images`.
    """
    return read_images(paths_of_images(folder), shape, watcher)


def paths_of_images(folder: Path) -> list[Path]:
    """Of all images below a folder, one at least.

    Raises:
        UnknownDataset: there are none.
    """
    if not (paths := list_images(folder).images):
        raise UnknownDataset(f"There is no image below {folder}. Name a folder that holds PNG or JPEG files.")
    return paths


def labelled_test_images(name: str, data_root: Path | None) -> Labelled:
    """Images that only reports may look at.

    Raises:
        UnknownDataset: no such name, or its files are neither there nor to be had.
    """
    return datasets.load(name, data_root).test


def check_same_images(local: LocalImages, journal: Journal) -> None:
    """Note the images that a run begins with; a run that goes on must go on with them.

    Raises:
        RunMismatch: they are others.
    """
    now = _identity(local.images)
    then = journal.notes().get(NOTE, now)
    if then != now:
        raise RunMismatch(
            f"The run began with {then['count']} images, now there are {now['count']}, and not the same ones. Bring "
            "those back, or choose another --out."
        )
    journal.note(NOTE, now)


def digest(images: Images) -> str:
    """What makes two sets of images the same one, order included: a sha256 in hexadecimal."""
    return sha256(b"".join(digests(images))).hexdigest()


def _identity(images: Images) -> dict[str, Any]:
    return {"count": len(images), "sha256": digest(images)}


def _own_images(config: Config, folder: Path | None, metadata: ModelMetadata, watcher: Watcher) -> LocalImages:
    if folder is None:
        raise UnknownDataset("The run learns from a folder of images. Name it with --data FOLDER.")
    classes = config.classes or metadata.classes()
    if classes is None:
        raise InvalidConfig(
            f"The server does not say how many classes the teacher '{metadata.name}' knows. Add --classes NUMBER."
        )
    shape = channels, height, width = taken_shape(metadata)
    if channels not in MODES or min(height, width) < SMALLEST_SIDE:
        raise InvalidConfig(
            f"The teacher takes images of {channels} channels and {width}x{height} pixels; a folder's images can be "
            f"made grey or RGB, and students see from {SMALLEST_SIDE}x{SMALLEST_SIDE} up. Ask another teacher."
        )
    listing = list_images(folder)
    if len(listing.images) < FEWEST:
        raise UnknownDataset(
            f"{folder} holds {len(listing.images)} PNG or JPEG files and {len(listing.others)} others; at least "
            f"{FEWEST} images are needed, and hundreds to learn well."
        )
    images = read_images(listing.images, shape, watcher)
    watcher.on_remark(_description(images, len(listing.others)))
    augmentation = Augmentation(max(1, min(height, width) // 16)).overridden(config.shift, config.flip)
    return LocalImages(FOLDER, classes, augmentation, images)


def _description(images: Images, others: int) -> str:
    _, channels, height, width = images.shape
    said = [f"{len(images)} images, cropped and scaled to {width}x{height}, {channels} channels"]
    if others:
        said.append(f"{others} other files passed over")
    if again := len(images) - len(set(digests(images))):
        said.append(f"{again} the same as another, which count twice")
    if images.nbytes > LARGE_BYTES:
        said.append(f"{images.nbytes / 2**30:.1f} GiB of memory")
    if max(height, width) > LARGEST_SIDE_TRIED:
        said.append(f"the recipe was tried up to {LARGEST_SIDE_TRIED}x{LARGEST_SIDE_TRIED} only, see --config")
    return "; ".join(said) + "."
