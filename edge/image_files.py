"""Image files as the teacher takes them."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.errors import InvalidImage

MODES = {1: "L", 3: "RGB"}
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for files that are no image, broken or far too large."""


def read_image(path: Path, shape: tuple[int, int, int], *, resize: bool) -> NDArray[np.uint8]:
    """The file as uint8 [C, H, W]; colours are converted, the size only on request.

    Raises:
        InvalidImage: unreadable, or of another size than the teacher takes.
    """
    channels, height, width = shape
    if channels not in MODES:
        raise InvalidImage(f"The teacher takes images of {channels} channels; files have 1 or 3.")
    try:
        # Pillow warns of odd metadata, which do not concern the pixels.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
            image = _with_8_bits(file).convert(MODES[channels])
    except UNREADABLE as error:
        raise InvalidImage(f"{path} cannot be read as an image: {error}.") from None
    if image.size != (width, height):
        if not resize:
            raise InvalidImage(
                f"{path} is {image.size[0]}x{image.size[1]} pixels, the teacher takes {width}x{height}. "
                "Scale it, or add --resize."
            )
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.uint8)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _with_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey scaled to 8 bits, which `convert` would clip to white; everything else as it is."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
