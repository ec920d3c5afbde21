import hashlib
from pathlib import Path

import numpy as np
import pytest

from server.torch_teacher import TorchTeacher
from shared import architectures, datasets
from shared.errors import UnknownDataset
from tests.shared.dataset_files import assert_two_loads_are_alike, no_network, parts, write_mat, write_mnist

DIGITS_DIGEST = "244e3ddaf4bb5ea33bbf253238a448161e9be4abdc5bf3adb72b88aa6bc55332"


@pytest.fixture
def mnist_root(tmp_path: Path) -> Path:
    """A folder with MNIST's four files; the 300 training and 50 test images are noise, numbered in a corner."""
    write_mnist(tmp_path)
    return tmp_path


def test_the_splits_of_digits_are_fixed_to_the_last_pixel() -> None:
    dataset = datasets.load("digits")
    digest = hashlib.sha256()
    for array in (dataset.cloud.images, dataset.cloud.labels, dataset.edge, dataset.test.images, dataset.test.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    assert digest.hexdigest() == DIGITS_DIGEST


def test_the_splits_of_digits_are_disjoint_and_leave_nothing_out() -> None:
    dataset = datasets.load("digits")
    assert [len(part) for part in parts(dataset)] == [897, 500, 400]
    distinct = {image.tobytes() for part in parts(dataset) for image in part}
    assert len(distinct) == 1797  # all digits differ, so content tells them apart
    assert all(part.dtype == np.uint8 and part.shape[1:] == (1, 8, 8) for part in parts(dataset))
    assert dataset.image_shape == (1, 8, 8)
    assert {int(part.max()) for part in parts(dataset)} == {255}


def test_every_class_has_its_share_of_every_part() -> None:
    dataset = datasets.load("digits")
    for labelled in (dataset.cloud, dataset.test):
        shares = np.bincount(labelled.labels, minlength=10) / len(labelled.labels)
        assert np.abs(shares - 0.1).max() < 0.005


def test_mnist_is_read_from_the_published_files_and_padded(mnist_root: Path) -> None:
    dataset = datasets.load("mnist", mnist_root)
    assert [part.shape for part in parts(dataset)] == [(270, 1, 32, 32), (30, 1, 32, 32), (50, 1, 32, 32)]
    for part in parts(dataset):
        framed = part.copy()
        framed[:, :, 2:-2, 2:-2] = 0
        assert part.dtype == np.uint8 and part.any() and not framed.any()
    numbers = [part[:, 0, 2, 2].astype(int) * 256 + part[:, 0, 2, 3] for part in parts(dataset)]
    assert sorted([*numbers[0], *numbers[1]]) == list(range(300))
    assert (numbers[0] % 10 == dataset.cloud.labels).all() and (numbers[2] % 10 == dataset.test.labels).all()
    assert np.bincount(numbers[1] % 10).tolist() == [3] * 10


def test_two_loads_split_alike(mnist_root: Path) -> None:
    assert_two_loads_are_alike("mnist", mnist_root)


def test_files_that_are_missing_and_cannot_be_had_are_named_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_network(monkeypatch)
    for name, folder in {
        "mnist": "MNIST/raw",
        "svhn": "SVHN",
        "cifar10": "cifar-10-batches-bin",
        "cifar100": "cifar-100-binary",
        "tiny-imagenet": "tiny-imagenet-200",
        "imagenet": "imagenet",
    }.items():
        with pytest.raises(UnknownDataset) as caught:
            datasets.load(name, tmp_path)
        said = str(caught.value)
        assert str(tmp_path / folder) in said and "Put " in said and "--data-root" in said
        assert "\n" not in said


def test_a_root_that_is_a_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UnknownDataset, match="file/MNIST/raw"):
        datasets.load("mnist", file)


@pytest.mark.parametrize("content", [b"", b"not an idx file", b"\x00\x00\x08\x03\x00\x00\x00\x09"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_broken_file_is_said(mnist_root: Path, name: str, content: bytes) -> None:
    (mnist_root / "MNIST" / "raw" / name).write_bytes(content)
    with pytest.raises(UnknownDataset, match="MNIST cannot be read from"):
        datasets.load("mnist", mnist_root)


def test_too_few_images_to_divide_are_said(tmp_path: Path) -> None:
    write_mnist(tmp_path, train=11)
    with pytest.raises(UnknownDataset, match="The 11 training images of 'mnist' cannot be divided"):
        datasets.load("mnist", tmp_path)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownDataset, match=r"no dataset 'cats'\. Known: digits, mnist, .*imagenet"):
        datasets.load("cats")


@pytest.mark.parametrize(("drawn", "met"), [("synthetic-digits-grey", "mnist"), ("synthetic-digits", "svhn")])
def test_a_teacher_of_drawn_digits_can_be_asked_about_others(mnist_root: Path, drawn: str, met: str) -> None:
    for part, count in (("train", 20), ("test", 10)):
        write_mat(mnist_root / "synthetic-digits" / f"synth_{part}_32x32.mat", 10 * count, ten_for_zero=False)
        write_mat(mnist_root / "SVHN" / f"{part}_32x32.mat", 10 * count, ten_for_zero=True)
    known, others = datasets.load(drawn, mnist_root), datasets.load(met, mnist_root)
    assert (known.image_shape, known.classes) == (others.image_shape, others.classes)
    model = architectures.build("resnet8", channels=known.image_shape[0], classes=known.classes)
    teacher = TorchTeacher(model, known.image_shape, known.classes)
    assert teacher.infer(others.edge).shape == (len(others.edge), 10)
