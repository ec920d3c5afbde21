import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from edge.images.image_files import read_image, taken_shape
from shared.errors import ForeignAnswer, InvalidImage
from shared.protocol import ModelMetadata, TensorMetadata

SHAPE = (1, 8, 8)
ORIENTATION = 0x0112
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


def test_a_palette_is_looked_up_and_transparency_dropped(path: Path) -> None:
    colour = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
    Image.fromarray(colour).quantize(64, dither=Image.Dither.NONE).save(path, transparency=3)
    with Image.open(path) as file:
        assert file.mode == "P"
    assert np.abs(read_image(path, (3, 8, 8), resize=False) - colour.transpose(2, 0, 1).astype(int)).max() <= 8
    Image.fromarray(np.dstack([colour, GREY])).save(path)
    assert (read_image(path, (3, 8, 8), resize=False) == colour.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 99])
def test_a_picture_taken_with_a_turned_camera_is_turned_upright(path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    halves = np.repeat(np.repeat(np.array([[0, 80], [160, 240]], np.uint8), 4, 0), 4, 1)
    Image.fromarray(halves).save(path, form, exif=exif)
    with Image.open(path) as file:
        upright = np.asarray(ImageOps.exif_transpose(file), int)
    for resize in (False, True):
        assert (read_image(path, SHAPE, resize=resize)[0] == upright).all()


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


def test_scaling_keeps_proportions_and_the_centre(path: Path) -> None:
    thirds = np.repeat(np.array([0, 100, 200], np.uint8), 16)  # three squares side by side
    for wide in (np.tile(thirds, (16, 1)), np.tile(thirds, (16, 1)).T):
        path.write_bytes(encoded(wide))
        assert np.abs(read_image(path, SHAPE, resize=True).astype(int) - 100).max() <= 5


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(path: Path) -> None:
    fine = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    large = np.repeat(np.repeat(fine, 100, 0), 100, 1)
    path.write_bytes(encoded(large, "jpeg"))
    with pytest.raises(InvalidImage, match="is 800x800 pixels"):
        read_image(path, SHAPE, resize=False)
    from_jpeg = read_image(path, SHAPE, resize=True).astype(int)
    path.write_bytes(encoded(large))
    assert np.abs(from_jpeg - read_image(path, SHAPE, resize=True)).max() <= 8


def test_a_file_that_is_no_image_or_not_there_is_named(path: Path, tmp_path: Path) -> None:
    path.write_text("no picture")
    for unreadable in (path, tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InvalidImage, match=f"{unreadable.name} cannot be read as an image"):
            read_image(unreadable, SHAPE, resize=False)


def test_a_teacher_with_channels_that_no_file_has_is_told_before_the_file_is_opened(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="takes images of 4 channels"):
        read_image(tmp_path / "missing.png", (4, 8, 8), resize=False)


def test_odd_exif_data_do_not_concern_the_pixels(path: Path) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x010E], exif[ORIENTATION], exif[0x011A] = "words", 1, 1.5
    Image.fromarray(GREY).save(buffer, "jpeg", exif=exif)
    sound = buffer.getvalue()
    path.write_bytes(sound)
    pixels, start = read_image(path, SHAPE, resize=False), sound.index(b"Exif")
    orientation = range(start + 26, start + 38)  # whose damage may turn the image
    for place in set(range(start, sound.index(b"\xff\xdb"))) - set(orientation):
        for value in (0, 15, 255):
            path.write_bytes(sound[:place] + bytes([value]) + sound[place + 1 :])
            assert (read_image(path, SHAPE, resize=False) == pixels).all()


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


def metadata(*inputs: tuple[str, list[int]]) -> ModelMetadata:
    tensors = [TensorMetadata(name=name, datatype="UINT8", shape=shape) for name, shape in inputs]
    return ModelMetadata(name="theirs", inputs=tensors, outputs=[])


def test_the_teacher_says_which_images_it_takes() -> None:
    assert taken_shape(metadata(("other", [1]), ("images", [-1, 3, 32, 24]))) == (3, 32, 24)


@pytest.mark.parametrize(
    "inputs", [[], [("pixels", [-1, 3, 8, 8])], [("images", [-1, 64])], [("images", [-1, 3, -1, -1])]]
)
def test_a_teacher_that_does_not_say_is_named(inputs: list[tuple[str, list[int]]]) -> None:
    with pytest.raises(ForeignAnswer, match=r"'theirs' has no input 'images' \[N, C, H, W\] of a fixed size"):
        taken_shape(metadata(*inputs))
