"""The report's grids of images, each as a PNG of its own: pixels as they are, enlarged without smoothing.

A grid is one pair of axes whose unit is a place, for a pair per image takes seconds to lay out.
"""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

GRID_COLUMNS = 8
INCHES = 0.56
"""Of a place's side."""
SIDE = 0.96
"""Of an image, in places."""
TITLE_PLACES = 0.5
"""Height of two lines above an image."""
TITLE = "#808080"  # readable on white and on black


def image_grid(images: NDArray[np.uint8], titles: Sequence[str]) -> bytes:
    """Images uint8 [N, C, H, W] side by side, each under its title of up to two lines."""
    row_height = 1 + TITLE_PLACES
    figure, axes = _places(-(-len(images) // GRID_COLUMNS) * row_height)
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(place, GRID_COLUMNS)
        top = row * row_height + TITLE_PLACES
        _show(axes, image, column, top)
        axes.text(column + SIDE / 2, top - 0.05, title, ha="center", va="bottom", fontsize=6.5, color=TITLE)
    return _png(figure)


def labelled_rows(rows: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """A row of images uint8 [N, C, H, W] per label; of more than `GRID_COLUMNS` the first."""
    figure, axes = _places(len(rows))
    for row, (label, images) in enumerate(rows.items()):
        axes.text(-0.2, row + SIDE / 2, label, ha="right", va="center", fontsize=9, color=TITLE)
        for column, image in enumerate(images[:GRID_COLUMNS]):
            _show(axes, image, column, row)
    return _png(figure)


def _places(height: float) -> tuple[Figure, Axes]:
    """`GRID_COLUMNS` places side by side and `height` below each other, on no background."""
    figure = Figure(figsize=(GRID_COLUMNS * INCHES, height * INCHES), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    return figure, axes


def _show(axes: Axes, image: NDArray[np.uint8], left: float, top: float) -> None:
    extent = (left, left + SIDE, top + SIDE, top)
    pixels = image.transpose(1, 2, 0).squeeze()
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=extent, interpolation="nearest", aspect="auto")


def _png(figure: Figure) -> bytes:
    (axes,) = figure.axes
    width, height = figure.get_size_inches() / INCHES
    axes.set(xlim=(0, width), ylim=(height, 0))  # images set them to themselves
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True, bbox_inches="tight", pad_inches=0.02)
    return buffer.getvalue()
