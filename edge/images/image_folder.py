"""A folder of image files: what is in it, and the same as one array, without labels or with them.

Every PNG and JPEG at any depth belongs to it, in the order of their paths. Hidden files and folders are passed over,
because tools leave pictures of their own in them (`._photo.jpg`). Links are followed, each folder once.

Shapes: N images, C channels, H height, W width, K classes.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np

from edge.images.image_files import read_image
from edge.training import Watcher
from shared.datasets import Images, Labelled
from shared.errors import InvalidImage, Stopped, UnknownDataset

SUFFIXES = {".png", ".jpg", ".jpeg"}
NAMED = 3
"""File names that a message shows."""


@dataclass
class Listing:
    """What is in a folder."""

    images: list[Path] = field(default_factory=list)
    """Files to read, in order."""
    others: list[Path] = field(default_factory=list)
    """Hidden files and those of other types."""


def list_images(folder: Path) -> Listing:
    """Find the images below `folder`.

    Raises:
        UnknownDataset: there is no such folder, or a part of it cannot be read.
    """
    if not folder.is_dir():
        raise UnknownDataset(f"There is no folder {folder}. Name one that holds PNG or JPEG files.")
    listing, seen = Listing(), set[Path]()
    for place, subfolders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        if (real := Path(place).resolve()) in seen:  # a link back to a folder above, or twice to the same one
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for path in (Path(place, name) for name in names):
            is_image = path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
            (listing.images if is_image else listing.others).append(path)
    listing.images.sort()
    return listing


def read_images(paths: Sequence[Path], shape: tuple[int, int, int], watcher: Watcher) -> Images:
    """The files as uint8 [N, C, H, W], see `read_image`; the watcher is told of each.

    Raises:
        InvalidImage: says how many files cannot be read, and the first of them.
        Stopped: the watcher asked for it.
    """
    images = np.empty((len(paths), *shape), np.uint8)
    refusals = []
    for index, path in enumerate(paths):
        if watcher.should_stop():
            raise Stopped(f"Stopped after {index} of {len(paths)} image files. The same command reads them again.")
        try:
            images[index] = read_image(path, shape, resize=True)
        except InvalidImage as refusal:
            refusals.append(str(refusal))
        watcher.on_read(index + 1, len(paths))
    if refusals:
        raise InvalidImage(
            f"{len(refusals)} of {len(paths)} image files cannot be used. Mend them or move them elsewhere: "
            f"{' '.join(refusals[:NAMED])}{' ...' if len(refusals) > NAMED else ''}"
        )
    return images


def read_labelled(folder: Path, shape: tuple[int, int, int], classes: int, watcher: Watcher) -> Labelled:
    """Images with the class that their subfolder names, as torchvision's ImageFolder has them.

    Where every subfolder's name is a whole number, it is the class; else the classes 0 to K - 1 are the subfolders'
    names in order.

    Raises:
        UnknownDataset: no images, some outside of any subfolder, or other classes than the student's.
        InvalidImage, Stopped: as `read_images`.
    """
    paths = list_images(folder).images
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    homes = [path.relative_to(folder).parts[0] for path in paths if path.parent != folder]
    if not paths:
        raise UnknownDataset(f"There is no image below {folder}. Put PNG or JPEG files into a subfolder per class.")
    if len(homes) < len(paths):
        raise UnknownDataset(
            f"{len(paths) - len(homes)} of {len(paths)} images lie directly in {folder}, where nothing tells their "
            "class. Put them into a subfolder per class."
        )
    class_of = _numbered(folder, names, classes) or _in_order(folder, names, classes)
    return Labelled(read_images(paths, shape, watcher), np.array([class_of[home] for home in homes], np.int64))


def _numbered(folder: Path, names: Sequence[str], classes: int) -> dict[str, int]:
    """Class by subfolder, where all names are numbers; else empty."""
    if not all(name.isascii() and name.isdigit() for name in names):
        return {}
    if wrong := [name for name in names if int(name) >= classes]:
        raise UnknownDataset(
            f"{folder / wrong[0]} would hold images of class {int(wrong[0])}, the student knows 0 to {classes - 1}."
        )
    return {name: int(name) for name in names}


def _in_order(folder: Path, names: Sequence[str], classes: int) -> dict[str, int]:
    if len(names) != classes:
        raise UnknownDataset(
            f"{folder} has {len(names)} subfolders, the student {classes} classes. Have one for each class, an empty "
            f"one too, or name them by the class's number, 0 to {classes - 1}."
        )
    return {name: label for label, name in enumerate(names)}


def _refuse(error: OSError) -> NoReturn:
    raise UnknownDataset(f"{error.filename} cannot be read: {error.strerror}.")
