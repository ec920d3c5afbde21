"""The report's grids of images, each as a PNG of its own: pixels as they are, enlarged without smoothing."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

GRID_COLUMNS = 8
INCHES = 0.56
TITLE = "#808080"  # readable on white and on black


def image_grid(images: NDArray[np.uint8], titles: Sequence[str]) -> bytes:
    """Images uint8 [N, C, H, W] side by side, each under its title of up to two lines."""
    rows = -(-len(images) // GRID_COLUMNS)
    figure, grid = _grid(rows, INCHES * 1.5)
    for image, title, axes in zip(images, titles, grid.flat, strict=False):
        _show(axes, image)
        axes.set_title(title, fontsize=6.5, pad=2, color=TITLE)
    return _png(figure)


def labelled_rows(rows: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """A row of images uint8 [N, C, H, W] per label; of more than `GRID_COLUMNS` the first."""
    figure, grid = _grid(len(rows), INCHES)
    for axes, (label, images) in zip(grid, rows.items(), strict=True):
        axes[0].text(-0.2, 0.5, label, transform=axes[0].transAxes, ha="right", va="center", fontsize=9, color=TITLE)
        for place, image in zip(axes, images, strict=False):
            _show(place, image)
    return _png(figure)


def _grid(rows: int, height: float) -> tuple[Figure, NDArray[Any]]:
    """Empty places on no background."""
    layout = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01)
    figure = Figure(figsize=(GRID_COLUMNS * INCHES, rows * height), dpi=150, layout=layout)
    grid = figure.subplots(rows, GRID_COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    return figure, grid


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    axes.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return buffer.getvalue()
