import os
from pathlib import Path

import numpy as np
import pytest

from edge.images.image_folder import list_images, read_images, read_labelled
from edge.training import Watcher
from shared.errors import InvalidImage, Stopped, UnknownDataset
from tests.edge.images.pictures import write_picture, write_pictures

SHAPE = (3, 16, 16)
BLACK = np.zeros((16, 16), np.uint8)


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder).images]


def test_images_at_any_depth_are_found_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "z/1.jpeg", "cats/2.PNG", "cats/deep/1.png"):
        write_picture(tmp_path / name, BLACK)
    assert names(tmp_path) == ["a.JPG", "b.png", "cats/2.PNG", "cats/deep/1.png", "z/1.jpeg"]


def test_hidden_files_and_other_types_are_counted_and_hidden_folders_not_entered(tmp_path: Path) -> None:
    write_pictures(tmp_path, 2)
    for name in ("._000.png", ".DS_Store", "notes.txt", "x.gif", "png"):
        (tmp_path / name).write_bytes(b"")
    write_picture(tmp_path / ".thumbnails" / "1.png", BLACK)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "waits-for-ever.png")
    listing = list_images(tmp_path)
    assert names(tmp_path) == ["000.png", "001.png"]
    assert len(listing.others) == 7


def test_links_are_followed_and_each_folder_entered_once(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "mine"
    write_pictures(elsewhere, 3)
    write_picture(folder / "below" / "1.png", BLACK)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "linked again").symlink_to(elsewhere)
    (folder / "below" / "up").symlink_to(folder)
    (folder / "itself").symlink_to(folder / "itself")
    assert names(folder) == ["below/1.png", "linked/000.png", "linked/001.png", "linked/002.png"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    write_picture(file := tmp_path / "file.png", BLACK)
    for missing in (tmp_path / "nowhere", file):
        with pytest.raises(UnknownDataset, match=f"no folder {missing}"):
            list_images(missing)


def test_files_become_one_array_in_their_order_and_the_watcher_hears_of_each(tmp_path: Path) -> None:
    pixels, heard = write_pictures(tmp_path, 5), list[tuple[int, int]]()
    watcher = Watcher(on_read=lambda read, total: heard.append((read, total)))
    images = read_images(list_images(tmp_path).images, SHAPE, watcher)
    assert images.dtype == np.uint8 and (images == pixels).all()
    assert heard == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_unreadable_files_are_told_all_at_once_with_their_number_and_the_first_of_them(tmp_path: Path) -> None:
    write_pictures(tmp_path, 3)
    for number in range(5):
        (tmp_path / f"broken{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(InvalidImage, match=r"5 of 8 image files cannot be used\. Mend them or move") as caught:
        read_images(list_images(tmp_path).images, SHAPE, Watcher())
    said = str(caught.value)
    assert all((f"broken{number}.jpg" in said) == (number < 3) for number in range(5))


def test_reading_stops_between_two_files(tmp_path: Path) -> None:
    write_pictures(tmp_path, 5)
    read = list[int]()
    watcher = Watcher(should_stop=lambda: len(read) == 2, on_read=lambda done, _: read.append(done))
    with pytest.raises(Stopped, match="after 2 of 5 image files"):
        read_images(list_images(tmp_path).images, SHAPE, watcher)


@pytest.mark.parametrize(
    ("subfolders", "classes", "labels"),
    [
        (["cat", "ant", "bee"], 3, {"ant": 0, "bee": 1, "cat": 2}),
        (["10", "9", "0"], 11, {"10": 10, "9": 9, "0": 0}),
        (["007", "2"], 10, {"007": 7, "2": 2}),
        (["1", "b", "10"], 3, {"1": 0, "10": 1, "b": 2}),
    ],
)
def test_a_class_is_the_subfolders_number_or_its_place_in_the_order_of_names(
    tmp_path: Path, subfolders: list[str], classes: int, labels: dict[str, int]
) -> None:
    for level, name in enumerate(subfolders):
        write_picture(tmp_path / name / "a.png", np.full((16, 16), 10 * level, np.uint8))
        write_picture(tmp_path / name / "deeper" / "b.png", np.full((16, 16), 10 * level, np.uint8))
    labelled = read_labelled(tmp_path, SHAPE, classes, Watcher())
    homes = [subfolders[level // 10] for level in labelled.images[:, 0, 0, 0].tolist()]
    assert labelled.labels.tolist() == [labels[home] for home in homes]
    assert sorted(homes) == sorted(2 * subfolders)


def test_an_empty_subfolder_keeps_its_class(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    write_pictures(tmp_path / "b", 2)
    assert read_labelled(tmp_path, SHAPE, 2, Watcher()).labels.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("files", "classes", "words"),
    [
        (["a/1.png", "b/1.png"], 3, "2 subfolders, the student 3 classes"),
        (["0/1.png", "3/1.png"], 3, "class 3, the student knows 0 to 2"),
        (["1.png", "a/1.png", "b/1.png"], 2, "1 of 3 images lie directly in"),
        (["1.png"], 2, "1 of 1 images lie directly in"),
        ([], 2, "no image"),
    ],
)
def test_labels_that_cannot_be_told_are_refused(tmp_path: Path, files: list[str], classes: int, words: str) -> None:
    for name in files:
        write_picture(tmp_path / name, BLACK)
    with pytest.raises(UnknownDataset, match=words):
        read_labelled(tmp_path, SHAPE, classes, Watcher())
