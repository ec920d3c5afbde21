"""The leaderboard's charts: curves by method over queries or bytes, and the Pareto front.

A method has one style in all charts of a page. Colours repeat after seven methods, so lines and markers differ as
well; nobody needs to see colours. Where shares reach far up and far down, equal distances are equal factors of the
error (y -> -log10(1 - y + 0.01)), or the best methods would lie on top of each other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray

from edge.leaderboard.curves import Mean
from edge.leaderboard.pareto import Point, envelope, front
from edge.report.charts import CLASS, COLOURS, INK, STYLE, as_svg, diagram

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)))
WIDTH, HEIGHT = 5.2, 3.7
MOST_TICKS = 7
LADDERS = ((1, 2, 5), (1, 3), (1,))
"""Ticks of a decade, from many to few."""
HIGH, APART = 0.9, 0.25
"""From what share on, and over what distance of shares, the upper end is stretched."""
LEAST_ERROR = 0.01
"""Added to the error, so that a share of 1 has a place."""
STRETCHED_TICKS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 1.0)
FRONTS = (
    (0, "sending no private image", "-"),
    (1, "at most some", (0, (4, 2))),
    (2, "any", (0, (1, 1.5))),
)
"""What a front admits, in words, and its line."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn; `place` is its number in the page."""

    place: int

    @property
    def drawn(self) -> dict[str, Any]:
        """As matplotlib takes it."""
        marker = MARKERS[self.place % len(MARKERS)]
        return {"color": COLOURS[self.place % len(COLOURS)], "marker": marker, "gid": f"{CLASS}{self.place}"}

    @property
    def dashes(self) -> Any:
        """Of its line."""
        return DASHES[self.place // len(COLOURS) % len(DASHES)]


def swatch(method: str, look: Look) -> Markup:
    """A piece of a method's line, for a legend."""
    with rc_context(_style(f"legend {method}")):
        figure = Figure(figsize=(0.46, 0.2))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        axes.set_xlim(0, 2)
        axes.set_ylim(-1, 1)
        axes.plot((0, 2), (0, 0), color=look.drawn["color"], linestyle=look.dashes, linewidth=1.8, clip_on=False)
        axes.plot((1,), (0,), color=look.drawn["color"], marker=look.drawn["marker"], markersize=5.5, clip_on=False)
        return as_svg(figure, f"Line of {method}")


def curves(
    points: Mapping[str, Sequence[tuple[float, Mean]]],
    looks: Mapping[str, Look],
    labels: tuple[str, str],
    alt: str,
    *,
    budgets: Sequence[int] = (),
    teacher: float | None = None,
) -> Markup:
    """Means by method with a band of one standard deviation; x grows by factors.

    Args:
        points: by method, x above 0 and a share.
        looks: by method.
        labels: of both axes; an x that begins with "bytes" is written in kB and MB.
        alt: what a person who cannot see the chart is told.
        budgets: where to write numbers of queries, if they are few.
        teacher: the teacher's share, a dashed line.
    """
    with rc_context(_style(alt)):
        figure, axes = diagram(WIDTH, HEIGHT, *labels)
        for method in sorted(points, key=lambda name: -looks[name].place):  # the first on top
            if line := points[method]:
                look, x = looks[method], [place for place, _ in line]
                y = [height.mean for _, height in line]
                spread = [height.std or 0.0 for _, height in line]
                low = [max(0.0, middle - std) for middle, std in zip(y, spread, strict=True)]
                high = [min(1.0, middle + std) for middle, std in zip(y, spread, strict=True)]
                axes.fill_between(
                    x, low, high, color=look.drawn["color"], alpha=0.13, linewidth=0, gid=look.drawn["gid"]
                )
                axes.plot(x, y, **look.drawn, linestyle=look.dashes, linewidth=1.6, markersize=4.5)
        if teacher is not None:
            _teacher(axes, teacher)
        places = [place for line in points.values() for place, _ in line]
        heights = [height.mean for line in points.values() for _, height in line]
        _axes(axes, places, heights, budgets, in_bytes=labels[0].startswith("bytes"))
        return as_svg(figure, alt)


def trade_off(points: Sequence[Point], looks: Mapping[str, Look], alt: str) -> Markup:
    """Accuracy against queries; members of the Pareto front are large and numbered, the others small and pale.

    A staircase is the best that can be had for so many queries, one for each class of privacy that has points.
    """
    members = front(points)
    with rc_context(_style(alt)):
        figure, axes = diagram(WIDTH, HEIGHT + 0.5, "queries", "accuracy")
        right = max(point.queries for point in points) * 1.15
        before: list[tuple[float, float]] = []
        for exposure, name, dashes in FRONTS:
            steps = envelope([point for point in points if point.queries > 0], exposure)
            if steps and steps != before:
                x, y = zip(*steps, (right, steps[-1][1]), strict=True)
                axes.plot(
                    x, y, drawstyle="steps-post", color=INK, alpha=0.45, linewidth=1, linestyle=dashes, label=name
                )
            before = steps
        for point in points:
            if point not in members and point.queries > 0:
                axes.plot(point.queries, point.accuracy, **looks[point.method].drawn, markersize=4, alpha=0.35)
        for number, point in enumerate(members, 1):
            if point.queries > 0:
                axes.plot(
                    point.queries, point.accuracy, **looks[point.method].drawn, markersize=9, markeredgecolor=INK
                )
                axes.annotate(
                    str(number),
                    (point.queries, point.accuracy),
                    (-6, 4) if number % 2 else (6, 4),
                    textcoords="offset points",
                    ha="right" if number % 2 else "left",
                    fontsize=8.5,
                )
        budgets = sorted({point.budget for point in points})
        _axes(axes, [point.queries for point in points], [point.accuracy for point in points], budgets)
        figure.legend(
            loc="outside lower center", ncols=len(FRONTS), title="best so far", fontsize=8, title_fontsize=8
        )
        return as_svg(figure, alt)


def _style(alt: str) -> dict[Any, Any]:
    """Salted, because a browser draws nothing that is clipped by a namesake in a part of the page that is hidden."""
    return STYLE | {"svg.hashsalt": alt}


def _teacher(axes: Axes, share: float) -> None:
    axes.axhline(share, linestyle=(0, (5, 3)), color=INK, linewidth=1, alpha=0.7)
    axes.annotate(
        f"teacher {share:.1%}",
        (0.005, share),
        (0, 3),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        fontsize=8,
    )


def _axes(
    axes: Axes, x: Sequence[float], y: Sequence[float], budgets: Sequence[int], *, in_bytes: bool = False
) -> None:
    """Per cent upwards, factors to the right, at few round numbers."""
    places = [place for place in x if place > 0]
    axes.set_xscale("log")
    few = 0 < len(budgets) <= MOST_TICKS
    axes.set_xticks(budgets if few else ticks(min(places), max(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter("B") if in_bytes else FuncFormatter(lambda place, _: f"{place:,.0f}"))
    low, high = axes.get_ylim()
    if stretched(y):
        axes.set_yscale("function", functions=(_up, _down))
        axes.set_yticks([tick for tick in STRETCHED_TICKS if low <= tick])
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(max(low, -0.01), min(high, 1.001))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid()


def stretched(shares: Sequence[float]) -> bool:
    """Whether the upper end of such shares is drawn larger than the lower one."""
    return max(shares) >= HIGH and max(shares) - min(shares) >= APART


def _up(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return -np.log10(np.maximum(1 - share + LEAST_ERROR, LEAST_ERROR / 2))


def _down(height: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 + LEAST_ERROR - 10.0**-height


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high`, both above 0, at most `MOST_TICKS` where decades allow it; at least one."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for ladder in LADDERS:
        round_numbers = [step * 10.0**decade for decade in decades for step in ladder]
        found = [number for number in round_numbers if low / 1.2 <= number <= high * 1.2]
        if len(found) <= MOST_TICKS:
            break
    return found or [low]
