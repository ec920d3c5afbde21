"""Image files as the teacher takes them: the same pixels in training, in evaluation and in questions."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from shared.errors import ForeignAnswer, InvalidImage
from shared.protocol import IMAGES, ModelMetadata

MODES = {1: "L", 3: "RGB"}
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for files that are no image, broken or far too large."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes EXIF's orientation."""


def taken_shape(metadata: ModelMetadata) -> tuple[int, int, int]:
    """Channels, height and width of the images that the teacher takes.

    Raises:
        ForeignAnswer: it does not say.
    """
    shapes = [tensor.shape[1:] for tensor in metadata.inputs if tensor.name == IMAGES]
    if len(shapes) != 1 or len(shapes[0]) != 3 or min(shapes[0]) < 1:
        raise ForeignAnswer(f"The model '{metadata.name}' has no input '{IMAGES}' [N, C, H, W] of a fixed size.")
    channels, height, width = shapes[0]
    return channels, height, width


def read_image(path: Path, shape: tuple[int, int, int], *, resize: bool) -> NDArray[np.uint8]:
    """The file as uint8 [C, H, W], turned upright as its EXIF data say.

    Colours are converted and transparency is dropped. The size changes only on request: the largest centred part of
    the teacher's proportions, scaled, so that nothing is distorted.

    Raises:
        InvalidImage: unreadable, or of another size than the teacher takes.
    """
    channels, height, width = shape
    if channels not in MODES:
        raise InvalidImage(f"The teacher takes images of {channels} channels; files have 1 or 3.")
    try:
        # Pillow warns of odd metadata, which do not concern the pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
            if resize:  # a JPEG of a camera is decoded six times as fast at an eighth of its size
                file.draft(MODES[channels], (2 * max(height, width),) * 2)
            image = _with_8_bits(_upright(file)).convert(MODES[channels])
    except UNREADABLE as error:
        raise InvalidImage(f"{path} cannot be read as an image: {error}.") from None
    if image.size != (width, height):
        if not resize:
            raise InvalidImage(
                f"{path} is {image.size[0]}x{image.size[1]} pixels, the teacher takes {width}x{height}. "
                "Scale it, or add --resize."
            )
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says. ImageOps.exif_transpose would also write all EXIF anew, and fails where some are odd."""
    turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    return image if turn is None else image.transpose(turn)


def _with_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, which `convert` would clip to white; everything else as it is."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
