"""Rows that may be compared with each other, grouped: a board per setting, track and response."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from edge.leaderboard.curves import Mean, area, mean, usual
from edge.leaderboard.differences import Difference, difference
from edge.leaderboard.pareto import EXPOSURE, Point
from edge.leaderboard.rows import Row, Setting, check_known, check_one_recipe
from edge.sends import Sends

BASELINE = "lq"
"""Where nobody says what to compare with."""
MEASURES = ("accuracy", "fidelity", "kl_nats", "calibration_error")


@dataclass
class Cell:
    """Runs of one method at one budget, a seed each."""

    ok: list[Row] = field(default_factory=list)
    failed: list[Row] = field(default_factory=list)

    def mean(self, name: str) -> Mean | None:
        """Of a field of the runs that ended well; None where none has it."""
        return mean(getattr(row, name) for row in self.ok)

    @cached_property
    def accuracy(self) -> Mean | None:
        """A share."""
        return self.mean("accuracy")

    @property
    def bytes(self) -> float | None:
        """Mean of the bytes up and down together."""
        up, down = self.mean("bytes_up"), self.mean("bytes_down")
        return up.mean + down.mean if up and down else None

    @property
    def queries(self) -> float | None:
        """Mean of the queries."""
        asked = self.mean("queries")
        return asked.mean if asked else None


class Board:
    """Methods against budgets, in one setting, on one track, from one kind of response."""

    def __init__(self, setting: Setting, track: str, response: str, rows: Sequence[Row]) -> None:
        self.setting, self.track, self.response, self.rows = setting, track, response, rows
        self.cells: dict[tuple[str, int], Cell] = defaultdict(Cell)
        for row in rows:
            cell = self.cells[row.method, row.budget]
            (cell.ok if row.status == "ok" else cell.failed).append(row)
        for cell in self.cells.values():
            for part in (cell.ok, cell.failed):
                part.sort(key=lambda row: row.seed)
        self.cells = dict(self.cells)
        self.budgets = sorted({budget for _, budget in self.cells})
        names = sorted({method for method, _ in self.cells})
        self.areas = {name: found for name in names if (found := area(self._heights(name)))}
        """Areas under the curves of accuracy, as shares; only of methods with at least two budgets."""
        self.usual = usual(self.areas.values())
        """The range that most of them have."""
        self.methods = sorted(names, key=self._rank)
        """Best area first; then areas over other ranges, which do not compare; then the rest by accuracy."""

    @property
    def name(self) -> str:
        """In words, unique in a page."""
        return f"{' / '.join(self.setting)}, track {self.track}, {self.response} responses"

    @cached_property
    def seeds(self) -> int:
        """Seeds that a cell usually has."""
        counts = Counter(cell.accuracy.n for cell in self.cells.values() if cell.accuracy)
        return max(counts, key=lambda n: (counts[n], n)) if counts else 0

    @property
    def teacher_accuracy(self) -> Mean | None:
        """A share; of one teacher it is the same in all rows."""
        return mean(row.teacher_accuracy for row in self.rows)

    def ranked(self, method: str) -> bool:
        """Whether its area is over the usual range, so that it compares with the others."""
        found = self.areas.get(method)
        return found is not None and self.usual is not None and found.comparable(self.usual)

    def sends(self, method: str) -> Sends:
        """The most exposing class of what its runs sent."""
        return most_exposing([row for row in self.rows if row.method == method])

    def best(self, budget: int) -> float | None:
        """Best mean accuracy at a budget that more than one method has."""
        found = [cell.accuracy.mean for (_, b), cell in self.cells.items() if b == budget and cell.accuracy]
        return max(found) if len(found) > 1 else None

    def best_area(self) -> float | None:
        """Best area among the methods that compare, if several do."""
        found = [self.areas[method].value for method in self.methods if self.ranked(method)]
        return max(found) if len(found) > 1 else None

    def curve(self, method: str, x: str, y: str) -> list[tuple[float, Mean]]:
        """(mean of `x`, mean of `y`) by budget; `x` is "queries" or "bytes". Points without either are left out."""
        points = []
        for budget in self.budgets:
            if cell := self.cells.get((method, budget)):
                place, height = getattr(cell, x), cell.mean(y)
                if place and height:
                    points.append((place, height))
        return points

    def points(self) -> list[Point]:
        """One per method and budget that has an accuracy."""
        return [
            Point(method, budget, cell.queries, cell.accuracy.mean, most_exposing(cell.ok))
            for (method, budget), cell in sorted(self.cells.items())
            if cell.accuracy and cell.queries is not None
        ]

    def baseline(self, against: str | None) -> str | None:
        """What to compare with: `against`, if it is here; without a choice `BASELINE`, or the first row's."""
        if against is not None:
            return against if against in self.methods else None
        return BASELINE if BASELINE in self.methods else self.rows[0].method

    def differences(self, baseline: str) -> dict[tuple[str, int], Difference]:
        """By method and budget: accuracy minus the baseline's in points, paired by seed."""
        found = {}
        for (method, budget), cell in self.cells.items():
            ours, theirs = _by_seed(cell), _by_seed(self.cells.get((baseline, budget), Cell()))
            if method != baseline and (compared := difference(ours, theirs)):
                found[method, budget] = compared
        return found

    def failures(self) -> list[Row]:
        """Runs that failed."""
        return [row for _, cell in sorted(self.cells.items()) for row in cell.failed]

    def _heights(self, method: str) -> list[tuple[float, float]]:
        return [(queries, height.mean) for queries, height in self.curve(method, "queries", "accuracy")]

    def _rank(self, method: str) -> tuple[bool, bool, float, str]:
        found = self.areas.get(method)
        heights = self.curve(method, "queries", "accuracy")
        height = found.value if found else heights[-1][1].mean if heights else 0.0
        return (not self.ranked(method), found is None, -height, method)


def most_exposing(rows: Sequence[Row]) -> Sends:
    """The most exposing class among rows, of which there is one at least."""
    return max((row.sends for row in rows), key=lambda sends: EXPOSURE[sends])


def boards(rows: Sequence[Row], against: str | None = None) -> list[Board]:
    """All boards, by setting, track and response, soft first.

    Args:
        rows: of a sweep.
        against: method to compare with, if one was chosen.

    Raises:
        InvalidConfig: no row is of the method to compare with, or the students of a board of track A had several
            recipes.
    """
    if against is not None:
        check_known(against, rows)
    groups: dict[tuple[Setting, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.setting, row.track, row.response].append(row)
    for group in groups.values():
        check_one_recipe(group)
    return [Board(*key, found) for key, found in sorted(groups.items(), key=lambda item: item[0])]


def _by_seed(cell: Cell) -> dict[int, float]:
    return {row.seed: 100 * row.accuracy for row in cell.ok if row.accuracy is not None}
