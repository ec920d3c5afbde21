"""Digits drawn here, 32x32: what "Syn. Digits" (Ganin and Lempitsky, ICML 2015) is, without a download.

Typed or written with a pen, turned, sheared, stretched, moved, in any two colours that differ enough, with the ends
of other digits at the sides as in house numbers, blurred and noisy. The typeface is the one that comes inside Pillow:
typefaces of the system differ between machines, and matplotlib's are not there on a server. One typeface is not much
variety, therefore the pen.

Drawn once, which takes ten to twenty seconds, and kept below the root of the datasets, because another release of
Pillow may draw a little differently.
"""

import io
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from shared.datasets import pen_strokes
from shared.datasets.files import BROKEN, DEFAULT_ROOT, read_from
from shared.datasets.parts import Dataset, Images, Labelled, divided
from shared.datasets.svhn import read_mat
from shared.whole_files import write_atomically

SIZE = 32
SCALE = 2
"""Drawn this much larger, then averaged."""
SIZES = (11_000, 2_000)
"""Images for training and for the test."""
SEED = 0
DRAWN = "drawn-1.npz"
"""Name of the kept file; the number changes with the way of drawing."""
PUBLISHED = ("synth_train_32x32.mat", "synth_test_32x32.mat")
LEAST_CONTRAST = 70
"""Between the brightness of the digit and of the ground, of 255."""
BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue: ITU-R BT.601."""


def load(root: Path | None = None, sizes: tuple[int, int] = SIZES) -> Dataset:
    """In colour; by default 11,000 drawn images for training, 2,000 for the test.

    Where `root`/synthetic-digits has the published synth_train_32x32.mat and synth_test_32x32.mat, these instead.
    """
    train, test = _images(root, sizes)
    return divided("synthetic-digits", train, test, classes=10, shift=2)


def load_grey(root: Path | None = None, sizes: tuple[int, int] = SIZES) -> Dataset:
    """The same images in grey, of MNIST's shape."""
    train, test = (Labelled(_grey(part.images), part.labels) for part in _images(root, sizes))
    return divided("synthetic-digits-grey", train, test, classes=10, shift=2)


def draw(digit: int, random: np.random.Generator) -> Images:
    """One image [3, 32, 32]; `random` decides everything but the digit."""
    side = SIZE * SCALE
    height = random.uniform(0.55, 0.85) * side
    ground, ink = _two_colours(random)
    mask = Image.new("L", (side, side))
    place = random.uniform(-0.08, 0.08, 2) * side
    turn, shear = random.normal(0, 0.12), random.normal(0, 0.15)
    stretch = random.uniform(0.8, 1.25)
    drawn = [(digit, 0.0)]
    drawn += [(int(random.integers(10)), sign) for sign in (-1.0, 1.0) if random.random() < 0.4]
    for which, side_by in drawn:
        glyph = _written(which, random) if random.random() < 0.5 else _typed(which, random)
        apart = np.array((side_by * stretch * height * random.uniform(0.75, 0.95), 0.0))
        mask.paste(255, mask=_placed(glyph, side, height, place + apart, turn, shear, stretch))
    image = Image.composite(Image.new("RGB", mask.size, ink), Image.new("RGB", mask.size, ground), mask)
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 1.2) * SCALE)).reduce(SCALE)
    noise = random.normal(0, random.uniform(0, 14), (SIZE, SIZE, 3))
    return np.rint(np.asarray(image) + noise).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)


GLYPH = 48
"""Height of a digit, in pixels, before it is placed; it stands in the middle of a square twice as high."""


def _written(digit: int, random: np.random.Generator) -> Image.Image:
    return pen_strokes.draw(digit, GLYPH, random)


def _typed(digit: int, random: np.random.Generator) -> Image.Image:
    image = Image.new("L", (2 * GLYPH, 2 * GLYPH))
    weight = int(random.integers(0, 4))
    ImageDraw.Draw(image).text((GLYPH, GLYPH), str(digit), 255, _typeface(), "mm", stroke_width=weight)
    return image


@cache
def _typeface() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(GLYPH / 0.7)  # its digits are 0.7 of the size high


def _placed(
    glyph: Image.Image,
    side: int,
    height: float,
    place: NDArray[np.float64],
    turn: float,
    shear: float,
    stretch: float,
) -> Image.Image:
    """The glyph in a square of `side` pixels, `height` pixels high, `place` pixels off the middle."""
    cos, sin = np.cos(turn), np.sin(turn)
    forward = np.array(((cos, -sin), (sin, cos))) @ np.array(((stretch, shear), (0, 1))) * (height / GLYPH)
    back = np.linalg.inv(forward)
    offset = np.full(2, GLYPH) - back @ (side / 2 + place)
    data = (back[0, 0], back[0, 1], offset[0], back[1, 0], back[1, 1], offset[1])
    return glyph.transform((side, side), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)


def _two_colours(random: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    while True:
        ground, ink = random.integers(0, 256, (2, 3))
        if abs(float((ground - ink) @ BRIGHTNESS)) >= LEAST_CONTRAST:
            return tuple(map(int, ground)), tuple(map(int, ink))


def _grey(images: Images) -> Images:
    """[N, 3, H, W] -> [N, 1, H, W]."""
    grey: Images = np.rint(np.einsum("nchw,c->nhw", images, BRIGHTNESS)).astype(np.uint8)
    return grey[:, None]


def _images(root: Path | None, sizes: tuple[int, int]) -> tuple[Labelled, Labelled]:
    """Training and test images in colour: the published ones, or those kept, or drawn now."""
    folder = (root or DEFAULT_ROOT) / "synthetic-digits"
    if any((folder / name).exists() for name in PUBLISHED):
        with read_from(folder, "The published synthetic digits", " and ".join(PUBLISHED)):
            train, test = (read_mat(folder / name) for name in PUBLISHED)
            return train, test
    labels = np.arange(sum(sizes)) % 10
    images = _kept(folder / DRAWN, len(labels))
    if images is None:
        images = np.stack([draw(int(label), np.random.default_rng((SEED, n))) for n, label in enumerate(labels)])
        with suppress(OSError):  # nowhere to keep them: they are drawn again next time
            buffer = io.BytesIO()
            np.savez(buffer, images=images)
            write_atomically(folder / DRAWN, buffer.getvalue())
    return Labelled(images[: sizes[0]], labels[: sizes[0]]), Labelled(images[sizes[0] :], labels[sizes[0] :])


def _kept(path: Path, count: int) -> Images | None:
    """What was drawn before; None where there is no such file, or not a whole one."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            images: Images = content["images"]
    except (*BROKEN, zipfile.BadZipFile, EOFError):
        return None
    return images if images.shape == (count, 3, SIZE, SIZE) else None
