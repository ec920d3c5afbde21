"""The report's charts as inline SVG: sharp at every size, in the page's own colours, light or dark.

Drawn with matplotlib's object interface, so that no global figure state is left behind. What is drawn in `INK`
takes the colour of the page's text.
"""

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

if TYPE_CHECKING:
    from edge.training import Curves

SMOOTHED_POINTS = 200
LABELLED_CLASSES = 20
INK = "#010203"
CLASS = "of-"
"""How names begin that stay in a drawing as classes."""
COLOURS = ("#3b82c4", "#e0803a", "#3fa673", "#b565c9", "#d1455b", "#b99a1f", "#7a8696")
"""In their order, legible on white and on black. Who draws more lines, or cannot rely on colours, adds markers."""
SHARE_OF_ROW = LinearSegmentedColormap.from_list("share", ["#3b82c400", "#3b82c4ff"])
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mekd",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}

Series = Mapping[str, Sequence[tuple[float, float]]]
"""By name, (x, y) points."""


def curves(by_name: "Curves", names: Sequence[str], ylabel: str, alt: str, *, shares: bool = False) -> Markup:
    """Curves over a stage's steps; long ones as the mean of `SMOOTHED_POINTS` pieces."""
    smooth = {}
    for name in names:
        if len(points := np.array(by_name.get(name, []))):
            pieces = np.array_split(points, min(len(points), SMOOTHED_POINTS))
            smooth[name] = [(float(step), float(value)) for step, value in (piece.mean(0) for piece in pieces)]
    return lines(smooth, "step", ylabel, alt, shares=shares)


def lines(
    series: Series,
    xlabel: str,
    ylabel: str,
    alt: str,
    *,
    shares: bool = False,
    steps: bool = False,
    dots: bool = False,
) -> Markup:
    """Lines in one diagram.

    Args:
        series: what to draw.
        xlabel: of the horizontal axis.
        ylabel: of the vertical axis.
        alt: what a person who cannot see the chart is told.
        shares: values from 0 to 1, shown as per cent.
        steps: the value stays until the next point.
        dots: mark every point, and let x grow by factors.
    """
    with rc_context(STYLE):
        figure, axes = diagram(5.2, 3.0, xlabel, ylabel)
        for colour, (name, points) in zip(COLOURS, series.items(), strict=False):
            x, y = np.array(points).T
            marker, drawn = ("o" if dots else None), ("steps-post" if steps else "default")
            axes.plot(x, y, label=name, color=colour, linewidth=1.6, marker=marker, drawstyle=drawn)
        if dots:
            axes.set_xscale("log")
            places = sorted({x for points in series.values() for x, _ in points})
            axes.set_xticks(places, [f"{x:,}" for x in places])
            axes.minorticks_off()
        if shares:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid()
        if len(series) > 1:
            axes.legend()
        return as_svg(figure, alt)


def bars(
    series: Mapping[str, Sequence[float]], xlabel: str, ylabel: str, alt: str, *, shares: bool = False
) -> Markup:
    """Bars by class, side by side for every name."""
    with rc_context(STYLE):
        figure, axes = diagram(5.2, 2.6, xlabel, ylabel)
        width = 0.8 / len(series)
        for place, (colour, (name, values)) in enumerate(zip(COLOURS, series.items(), strict=False)):
            offset = (place - (len(series) - 1) / 2) * width
            axes.bar(np.arange(len(values)) + offset, values, width, color=colour, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(LABELLED_CLASSES, integer=True))
        if shares:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if len(series) > 1:
            figure.legend(loc="outside upper right", ncols=len(series))
        return as_svg(figure, alt)


def confusion(counts: Sequence[Sequence[int]], rows: str, columns: str, alt: str) -> Markup:
    """Confusion matrix [K, K], each cell as dark as its share of the row."""
    matrix = np.array(counts)
    with rc_context(STYLE):
        figure, axes = diagram(4.0, 3.8, columns, rows)
        axes.imshow(matrix / matrix.sum(1, keepdims=True).clip(1), cmap=SHARE_OF_ROW, vmin=0, vmax=1)
        if len(matrix) <= LABELLED_CLASSES:
            for (row, column), count in np.ndenumerate(matrix):
                if count:
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=8)
            axes.set_xticks(range(len(matrix)))
            axes.set_yticks(range(len(matrix)))
        return as_svg(figure, alt)


def diagram(width: float, height: float, xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    """An empty diagram of so many inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.subplots()
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    return figure, axes


def as_svg(figure: Figure, alt: str) -> Markup:
    """The figure as an element of an HTML page.

    What was given a name that begins with `CLASS` (`Artist.set_gid`) has it as its class, for the page's script.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    (box,) = re.findall(r'viewBox="[^"]*"', drawing)
    drawing = re.sub(r"<svg[^>]*>", f'<svg role="img" aria-label="{escape(alt)}" {box}>', drawing, count=1)
    drawing = re.sub(rf'<g id="({CLASS}[\w-]*)">', r'<g class="\1">', drawing)
    drawing = re.sub(r'<g id="[^"]*">', "<g>", drawing)  # several charts in one page would name the same things
    drawing = re.sub(r"'DejaVu Sans'[^;\"]*", "inherit", drawing)
    return Markup(drawing.replace(INK, "currentColor"))  # noqa: S704 - matplotlib escapes its texts
