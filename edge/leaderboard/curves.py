"""Numbers of a curve over budgets: means over seeds, and the area below.

The area is the mean height of the curve where a factor of queries counts the same everywhere: the trapezoidal
integral of y over log10(queries), divided by the width of its range.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SAME_END = 0.05
"""Ranges whose ends differ by at most this share are the same: a method may leave a few queries unspent."""


class Mean(NamedTuple):
    """Mean over seeds, sample standard deviation (None of one seed) and number of seeds."""

    mean: float
    std: float | None
    n: int


class Area(NamedTuple):
    """Mean height of a curve over a range of queries; `points` are the budgets that hold it up."""

    value: float
    low: float
    high: float
    points: int

    def comparable(self, other: "Area") -> bool:
        """Whether both are over the same range, and known at as many budgets."""
        ends = ((self.low, other.low), (self.high, other.high))
        return self.points == other.points and all(math.isclose(a, b, rel_tol=SAME_END) for a, b in ends)


def mean(values: Iterable[float | None]) -> Mean | None:
    """Of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Mean(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


def area(points: Sequence[tuple[float, float]]) -> Area | None:
    """Area under (queries, y); None where fewer than two different numbers of queries above 0 are known."""
    known = sorted((queries, y) for queries, y in points if queries > 0)
    if not known or known[0][0] == known[-1][0]:
        return None
    places = [math.log10(queries) for queries, _ in known]
    heights = [y for _, y in known]
    total = sum(
        (right - left) * (before + after) / 2
        for left, right, before, after in zip(places, places[1:], heights, heights[1:], strict=False)
    )
    return Area(total / (places[-1] - places[0]), known[0][0], known[-1][0], len(known))


def usual(areas: Iterable[Area]) -> Area | None:
    """One of those with the commonest range, of equally common ones the widest: against it others are compared."""
    found = list(areas)
    if not found:
        return None
    return max(found, key=lambda one: (sum(one.comparable(other) for other in found), one.points, one.high / one.low))
