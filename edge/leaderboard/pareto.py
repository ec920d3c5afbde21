"""Which points are not beaten in accuracy, queries and privacy at once."""

from collections.abc import Sequence
from typing import NamedTuple

from edge.sends import Sends

EXPOSURE: dict[Sends, int] = {Sends.NOISE: 0, Sends.SYNTHETIC: 0, Sends.MIXED: 1, Sends.REAL: 2}
"""How much of the private images left the device: none, some, all that were asked about."""


class Point(NamedTuple):
    """One method at one budget."""

    method: str
    budget: int
    queries: float
    accuracy: float
    sends: Sends

    def dominates(self, other: "Point") -> bool:
        """Whether it is at least as good in all three, and better in one."""
        ours = (-self.accuracy, self.queries, EXPOSURE[self.sends])
        theirs = (-other.accuracy, other.queries, EXPOSURE[other.sends])
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one dominates, from the fewest queries to the most."""
    members = [point for point in points if not any(other.dominates(point) for other in points)]
    return sorted(members, key=lambda point: (point.queries, EXPOSURE[point.sends], -point.accuracy, point.method))


def envelope(points: Sequence[Point], exposure: int) -> list[tuple[float, float]]:
    """(queries, best accuracy so far) of what exposes no more than that: the front as a staircase."""
    steps: list[tuple[float, float]] = []
    allowed = sorted((p for p in points if EXPOSURE[p.sends] <= exposure), key=lambda p: (p.queries, -p.accuracy))
    for point in allowed:
        if not steps or point.accuracy > steps[-1][1]:
            steps.append((point.queries, point.accuracy))
    return steps
