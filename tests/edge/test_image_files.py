import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.image_files import read_image
from shared.errors import InvalidImage

SHAPE = (1, 8, 8)
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], form: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.png"


def test_a_grey_file_comes_pixel_by_pixel(path: Path) -> None:
    path.write_bytes(encoded(GREY))
    image = read_image(path, SHAPE, resize=False)
    assert image.dtype == np.uint8 and image.shape == SHAPE
    assert (image[0] == GREY).all()


def test_colours_are_converted_to_what_the_teacher_takes(path: Path) -> None:
    colour = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
    path.write_bytes(encoded(colour))
    assert (read_image(path, (3, 8, 8), resize=False) == colour.transpose(2, 0, 1)).all()
    luma = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_image(path, SHAPE, resize=False)[0] - luma).max() <= 1
    path.write_bytes(encoded(GREY))
    assert (read_image(path, (3, 8, 8), resize=False) == GREY).all()


def test_sixteen_bits_are_scaled_to_eight_and_not_clipped(path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 256 + 255).save(path)
    assert (read_image(path, SHAPE, resize=False)[0] == GREY).all()


def test_another_size_is_refused_with_both_sizes_and_the_way_out(path: Path) -> None:
    path.write_bytes(encoded(np.zeros((20, 30), np.uint8)))
    with pytest.raises(InvalidImage, match=r"image\.png is 30x20 pixels, the teacher takes 8x8\..*--resize"):
        read_image(path, SHAPE, resize=False)


def test_on_request_the_image_is_scaled(path: Path) -> None:
    halves = np.zeros((16, 32), np.uint8)
    halves[:, 16:] = 200
    path.write_bytes(encoded(halves))
    image = read_image(path, SHAPE, resize=True)
    assert image.shape == SHAPE
    assert (image[0, :, :3] < 20).all() and (abs(image[0, :, 5:].astype(int) - 200) < 20).all()


def test_a_file_that_is_no_image_or_not_there_is_named(path: Path, tmp_path: Path) -> None:
    path.write_text("no picture")
    for unreadable in (path, tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InvalidImage, match=f"{unreadable.name} cannot be read as an image"):
            read_image(unreadable, SHAPE, resize=False)


def test_a_teacher_with_channels_that_no_file_has_is_told_before_the_file_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="takes images of 4 channels"):
        read_image(tmp_path / "missing.png", (4, 8, 8), resize=False)


@pytest.mark.parametrize("form", ["png", "jpeg", "gif", "bmp", "tiff"])
def test_a_damaged_file_is_an_image_or_a_clear_error_and_never_anything_else(path: Path, form: str) -> None:
    sound = encoded(GREY, form)
    refused = 0
    for place in range(0, min(len(sound), 400)):
        damaged = bytearray(sound)
        damaged[place] ^= 0xFF
        for content in (bytes(damaged), sound[:place]):
            path.write_bytes(content)
            try:
                image = read_image(path, SHAPE, resize=True)
            except InvalidImage:
                refused += 1
            else:
                assert image.shape == SHAPE
    assert refused > 20
