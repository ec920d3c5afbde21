"""The report's pictures, each as a PNG of its own.

Drawn with matplotlib's object interface, so that no global figure state is left behind.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge.training import Curves

SMOOTHED_POINTS = 200
GRID_COLUMNS = 8


def curves(by_name: Curves, names: Sequence[str], ylabel: str) -> bytes:
    """Curves over a stage's steps; long ones as the mean of `SMOOTHED_POINTS` pieces."""
    figure, axes = _figure(5.2, 3.2)
    for name in names:
        points = np.array(by_name.get(name, []))
        if len(points):
            pieces = np.array_split(points, min(len(points), SMOOTHED_POINTS))
            steps, values = np.array([piece.mean(0) for piece in pieces]).T
            axes.plot(steps, values, label=name, linewidth=1.4)
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return _png(figure)


def image_grid(images: NDArray[np.uint8], titles: Sequence[str] | None = None) -> bytes:
    """Images uint8 [N, C, H, W] side by side, as they are."""
    rows = -(-len(images) // GRID_COLUMNS)
    figure = Figure(figsize=(GRID_COLUMNS * 0.55, rows * 0.68), dpi=110, layout="constrained")
    for axes in (grid := figure.subplots(rows, GRID_COLUMNS, squeeze=False)).flat:
        axes.axis("off")
    for index, (image, axes) in enumerate(zip(images, grid.flat, strict=False)):
        axes.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=255)
        if titles:
            axes.set_title(titles[index], fontsize=7, pad=1)
    return _png(figure)


def class_bars(counts: Sequence[int]) -> bytes:
    """Answers by the teacher's class."""
    figure, axes = _figure(5.2, 2.4)
    axes.bar(range(len(counts)), counts, color="#4878a8")
    axes.set_xticks(range(len(counts)))
    axes.set_xlabel("teacher's class")
    axes.set_ylabel("stored answers")
    return _png(figure)


def confusion(counts: Sequence[Sequence[int]]) -> bytes:
    """Confusion matrix [K, K]; row = true class, column = the student's."""
    matrix = np.array(counts)
    figure, axes = _figure(4.2, 3.8)
    axes.imshow(matrix / matrix.sum(1, keepdims=True).clip(1), cmap="Blues", vmin=0, vmax=1)
    if len(matrix) <= 20:
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                colour = "white" if row == column else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
        axes.set_xticks(range(len(matrix)))
        axes.set_yticks(range(len(matrix)))
    axes.set_xlabel("student's class")
    axes.set_ylabel("true class")
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes: Any = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
