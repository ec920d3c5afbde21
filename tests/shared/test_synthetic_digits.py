from pathlib import Path

import numpy as np
import pytest

from shared.datasets import pen_strokes, synthetic_digits
from shared.datasets.synthetic_digits import BRIGHTNESS, DRAWN, draw
from tests.shared.dataset_files import parts

SIZES = (200, 50)


def test_the_same_numbers_draw_the_same_image_and_others_another() -> None:
    first, again, other = (draw(3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (3, 32, 32) and first.dtype == np.uint8
    assert (first == again).all() and (first != other).any()


@pytest.mark.parametrize("digit", range(10))
def test_every_digit_is_drawn_whole_and_contrasts_with_its_ground(digit: int) -> None:
    for seed in range(5):
        image = draw(digit, np.random.default_rng(seed))
        brightness = np.einsum("chw,c->hw", image, BRIGHTNESS)[4:28, 4:28]
        assert np.ptp(brightness) > 30
        glyph = np.asarray(pen_strokes.draw(digit, 48, np.random.default_rng(seed)))
        assert glyph.any() and not glyph[[0, -1]].any() and not glyph[:, [0, -1]].any()


def test_sizes_shapes_and_classes_are_those_asked_for(tmp_path: Path) -> None:
    dataset = synthetic_digits.load(tmp_path, SIZES)
    assert [part.shape for part in parts(dataset)] == [(180, 3, 32, 32), (20, 3, 32, 32), (50, 3, 32, 32)]
    assert np.bincount(dataset.cloud.labels).tolist() == [18] * 10
    assert not dataset.flip


def test_the_grey_ones_are_the_same_images(tmp_path: Path) -> None:
    colour, grey = synthetic_digits.load(tmp_path, SIZES), synthetic_digits.load_grey(tmp_path, SIZES)
    assert grey.image_shape == (1, 32, 32)
    for one, other in zip(parts(colour), parts(grey), strict=True):
        expected = np.einsum("nchw,c->nhw", one, BRIGHTNESS)
        assert np.abs(expected - other[:, 0]).max() <= 0.501


def test_they_are_drawn_once_and_kept(tmp_path: Path) -> None:
    one = synthetic_digits.load(tmp_path, SIZES)
    kept = tmp_path / "synthetic-digits" / DRAWN
    before = kept.stat().st_mtime_ns
    other = synthetic_digits.load(tmp_path, SIZES)
    assert all((a == b).all() for a, b in zip(parts(one), parts(other), strict=True))
    assert kept.stat().st_mtime_ns == before and [path.name for path in kept.parent.iterdir()] == [DRAWN]


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04"])
def test_a_broken_file_is_drawn_anew(tmp_path: Path, content: bytes) -> None:
    kept = tmp_path / "synthetic-digits" / DRAWN
    kept.parent.mkdir()
    kept.write_bytes(content)
    synthetic_digits.load(tmp_path, SIZES)
    with np.load(kept, allow_pickle=False) as drawn:
        assert drawn["images"].shape == (250, 3, 32, 32)


def test_where_nothing_can_be_kept_they_are_drawn_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert len(synthetic_digits.load(file, SIZES).test.images) == 50
