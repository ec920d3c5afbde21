"""Datasets of photographs, from files in their published layouts that are written here."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.request import ProxyHandler, build_opener, install_opener

import numpy as np
import pytest
from PIL import Image

from shared import datasets
from shared.datasets import Dataset
from shared.datasets.files import fetch_archive
from shared.datasets.image_tree import read_images
from shared.errors import UnknownDataset
from tests.shared.dataset_files import assert_two_loads_are_alike, numbered, numbers, parts, write_image, write_mat


def assert_divided(dataset: Dataset, train: int, test: int, classes: int) -> None:
    """A tenth of the training images is the edge's; image number n has class n % classes throughout."""
    cloud, edge, tested = map(numbers, parts(dataset))
    assert sorted([*cloud, *edge]) == list(range(train)) and list(tested) == list(range(test))
    assert len(edge) == train // 10
    assert (cloud % classes == dataset.cloud.labels).all() and (tested % classes == dataset.test.labels).all()
    assert np.ptp(np.bincount(edge % classes, minlength=classes)) <= 1
    assert dataset.classes == classes


def test_svhn_is_read_from_its_published_files(tmp_path: Path) -> None:
    write_mat(tmp_path / "SVHN" / "train_32x32.mat", 200, ten_for_zero=True)
    write_mat(tmp_path / "SVHN" / "test_32x32.mat", 30, ten_for_zero=True)
    dataset = datasets.load("svhn", tmp_path)
    assert_divided(dataset, 200, 30, 10)
    assert (dataset.test.images == numbered(30, 3, 32)).all()
    assert dataset.image_shape == (3, 32, 32) and not dataset.flip
    assert_two_loads_are_alike("svhn", tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no matrix", b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM", b"\x89HDF"]
)
def test_a_broken_matrix_is_said(tmp_path: Path, content: bytes) -> None:
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / "SVHN").mkdir(exist_ok=True)
        (tmp_path / "SVHN" / name).write_bytes(content)
    with pytest.raises(UnknownDataset, match="SVHN cannot be read from"):
        datasets.load("svhn", tmp_path)


def test_published_synthetic_digits_go_before_drawn_ones(tmp_path: Path) -> None:
    write_mat(tmp_path / "synthetic-digits" / "synth_train_32x32.mat", 200, ten_for_zero=False)
    with pytest.raises(UnknownDataset, match=r"Put synth_train_32x32\.mat and synth_test_32x32\.mat there"):
        datasets.load("synthetic-digits", tmp_path)
    write_mat(tmp_path / "synthetic-digits" / "synth_test_32x32.mat", 30, ten_for_zero=False)
    assert_divided(datasets.load("synthetic-digits", tmp_path), 200, 30, 10)
    assert datasets.load("synthetic-digits-grey", tmp_path).image_shape == (1, 32, 32)


@contextmanager
def files_served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def test_an_archive_is_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    (made := tmp_path / "made" / "some-batches").mkdir(parents=True)
    (made / "one.bin").write_bytes(b"one")
    archive = Path(shutil.make_archive(str(tmp_path / "some"), "gztar", made.parent, made.name))
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    folder = tmp_path / "root" / "some-batches"
    install_opener(build_opener(ProxyHandler({})))
    with files_served(tmp_path) as url:
        for wanted, checked in ((folder, "0" * 32), (folder.with_name("others"), md5)):
            with pytest.raises((OSError, RuntimeError)):
                fetch_archive(wanted, f"{url}/some.tar.gz", checked)
            assert list(folder.parent.iterdir()) == []
        fetch_archive(folder, f"{url}/some.tar.gz", md5)
    assert [path.name for path in folder.parent.iterdir()] == ["some-batches"]
    assert (folder / "one.bin").read_bytes() == b"one"
    fetch_archive(folder, "http://nobody.invalid/some.tar.gz", md5)


def write_records(path: Path, numbers: range, classes: int, *, coarse: bool) -> None:
    images = numbered(numbers.stop, 3, 32)[numbers.start :].reshape(-1, 3 * 32 * 32)
    labels = (np.array(numbers) % classes).astype(np.uint8)[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.hstack([*[labels // 5] * coarse, labels, images]).tobytes())


def test_cifar10_is_read_from_the_binary_version(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    for batch in range(5):
        write_records(folder / f"data_batch_{batch + 1}.bin", range(60 * batch, 60 * (batch + 1)), 10, coarse=False)
    write_records(folder / "test_batch.bin", range(30), 10, coarse=False)
    dataset = datasets.load("cifar10", tmp_path)
    assert_divided(dataset, 300, 30, 10)
    assert (dataset.test.images == numbered(30, 3, 32)).all()
    assert dataset.flip
    assert_two_loads_are_alike("cifar10", tmp_path)
    (folder / "data_batch_3.bin").write_bytes(b"\x01" * 3000)
    with pytest.raises(UnknownDataset, match="CIFAR-10 cannot be read from"):
        datasets.load("cifar10", tmp_path)


def test_cifar100_is_read_from_the_binary_version_with_its_fine_classes(tmp_path: Path) -> None:
    write_records(tmp_path / "cifar-100-binary" / "train.bin", range(1000), 100, coarse=True)
    write_records(tmp_path / "cifar-100-binary" / "test.bin", range(200), 100, coarse=True)
    assert_divided(datasets.load("cifar100", tmp_path), 1000, 200, 100)


def test_an_empty_file_of_cifar_is_said(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_records(tmp_path / "cifar-100-binary" / f"{part}.bin", range(0), 100, coarse=True)
    with pytest.raises(UnknownDataset, match=r"no images in train\.bin"):
        datasets.load("cifar100", tmp_path)


def test_cifar10_is_read_from_folders_of_images_too(tmp_path: Path) -> None:
    for part, count in (("train", 100), ("test", 20)):
        for number, image in enumerate(numbered(count, 3, 32)):
            write_image(tmp_path / "cifar10" / part / "abcdefghij"[number % 10] / f"{number:04}.png", image)
    dataset = datasets.load("cifar10", tmp_path)
    order = np.argsort(numbers(dataset.test.images))
    assert (dataset.test.images[order] == numbered(20, 3, 32)).all()
    assert (dataset.test.labels[order] == np.arange(20) % 10).all()
    assert [len(part) for part in parts(dataset)] == [90, 10, 20]
    (tmp_path / "cifar10" / "test" / "a" / "0000.png").write_bytes(b"no image")
    with pytest.raises(UnknownDataset, match=r"CIFAR-10 cannot be read .*0000\.png"):
        datasets.load("cifar10", tmp_path)


def tiny_imagenet(root: Path) -> Path:
    folder = root / "tiny-imagenet-200"
    names = ["n01", "n02", "n03"]
    for number, image in enumerate(numbered(60, 3, 64)):
        name = names[number % 3]
        write_image(folder / "train" / name / "images" / f"{name}_{number}.png", image)
    lines = []
    for number, image in enumerate(numbered(9, 3, 64)):
        write_image(folder / "val" / "images" / f"val_{number}.png", image)
        lines.append(f"val_{number}.png\t{names[number % 3]}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


def test_tiny_imagenet_is_read_as_its_archive_unpacks(tmp_path: Path) -> None:
    tiny_imagenet(tmp_path)
    dataset = datasets.load("tiny-imagenet", tmp_path)
    assert_divided(dataset, 60, 9, 3)
    assert dataset.image_shape == (3, 64, 64) and dataset.flip


def test_an_annotation_of_an_unknown_class_is_said(tmp_path: Path) -> None:
    with (tiny_imagenet(tmp_path) / "val" / "val_annotations.txt").open("a") as file:
        file.write("val_1.png\tn99\t0\t0\t63\t63\n")
    with pytest.raises(UnknownDataset, match=r"Tiny ImageNet cannot be read .*n99"):
        datasets.load("tiny-imagenet", tmp_path)


def test_imagenet_is_read_from_folders_resized_and_refused_where_the_classes_differ(tmp_path: Path) -> None:
    for part, count in (("train", 10), ("val", 2)):
        for name, red in (("n01", 10), ("n02", 200)):
            for number in range(count):
                image = np.full((3, 300, 400), number, np.uint8)
                image[0] = red
                write_image(tmp_path / "imagenet" / part / name / f"{number}.JPEG", image)
    dataset = datasets.load("imagenet", tmp_path)
    assert [part.shape for part in parts(dataset)] == [(18, 3, 224, 224), (2, 3, 224, 224), (4, 3, 224, 224)]
    assert ((dataset.cloud.images[:, 0, 0, 0] > 100) == dataset.cloud.labels).all()
    (tmp_path / "imagenet" / "val" / "n02").rename(tmp_path / "imagenet" / "val" / "n03")
    with pytest.raises(UnknownDataset, match="train has 2 classes, and val not the same ones"):
        datasets.load("imagenet", tmp_path)


def test_an_image_of_another_form_gives_the_square_in_its_middle(tmp_path: Path) -> None:
    wide = np.zeros((3, 32, 64), np.uint8)
    wide[1, :, 16:48] = 255
    write_image(tmp_path / "wide.png", wide)
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    images = read_images([tmp_path / "wide.png", tmp_path / "grey.png"], 16)
    assert images[0, 1].min() > 200 and (images[0, 1, :, 1:-1] == 255).all() and not images[0, [0, 2]].any()
    assert (images[1] == 77).all()


def test_more_images_than_memory_holds_are_refused_before_any_is_read() -> None:
    with pytest.raises(UnknownDataset, match=r"1000 images of 224x224 pixels take 0\.2 GB, .*0\.1 GB\. Leave fewer"):
        read_images([Path("nowhere.png")] * 1000, 224, memory=10**8)
