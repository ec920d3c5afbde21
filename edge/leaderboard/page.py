"""leaderboard.html: one file with everything in it, for a browser without a network, with or without its script."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edge.leaderboard import charts
from edge.leaderboard.boards import Board
from edge.leaderboard.charts import Look
from edge.leaderboard.curves import SAME_END, Area
from edge.leaderboard.exports import lines
from edge.leaderboard.pareto import EXPOSURE, front
from edge.leaderboard.rows import Row

CURVES = (
    ("queries", "accuracy", "queries, log", "Accuracy by queries"),
    ("queries", "fidelity", "queries, log", "Fidelity by queries: how often the student names the teacher's class"),
    ("bytes", "accuracy", "bytes up and down, log", "Accuracy by bytes on the wire, both directions"),
)
"""x, y, label of x and caption."""


def page(boards: Sequence[Board], against: str | None) -> str:
    """The page of boards that are in the order of `edge.leaderboard.boards.boards`; there is one at least."""
    rows = [row for board in boards for row in board.rows]
    looks = {name: Look(place) for place, name in enumerate(sorted({row.method for row in rows}))}
    environment = Environment(
        loader=PackageLoader("edge.leaderboard", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "points": _points,
        "count": _count,
        "four": _four,
        "seconds": _seconds,
    }
    settings = [
        {"setting": setting, "boards": [_view(board, looks, against) for board in group]}
        for setting, group in groupby(boards, key=lambda board: board.setting)
    ]
    return environment.get_template("template.html").render(
        settings=settings,
        choices=_choices(boards),
        account=_account(rows),
        same_end=SAME_END,
        software=_distinct(row.software for row in rows),
        hardware=_distinct(row.hardware for row in rows),
    )


def _view(board: Board, looks: Mapping[str, Look], against: str | None) -> dict[str, Any]:
    """What the template shows of a board."""
    points, baseline = board.points(), board.baseline(against)
    return {
        "board": board,
        "methods": [_method(board, method, looks[method]) for method in board.methods],
        "usual": _range(board.usual, board) if board.usual else None,
        "legend": [(name, looks[name].place, charts.swatch(name, looks[name])) for name in sorted(board.methods)],
        "charts": _charts(board, looks),
        "stretched": bool(points) and charts.stretched([point.accuracy for point in points]),
        "front": [(point, looks[point.method].place, EXPOSURE[point.sends]) for point in front(points)],
        "points": len(points),
        "trade_off": charts.trade_off(points, looks, f"Pareto front, {board.name}")
        if any(point.queries > 0 for point in points)
        else None,
        "baseline": baseline,
        "against": against,
        "differences": _differences(board, baseline, looks) if baseline else [],
        "failures": board.failures(),
        "lines": [(looks[line["method"]].place, line) for line in lines(board)],
    }


def _method(board: Board, method: str, look: Look) -> dict[str, Any]:
    """A row of the first table."""
    area, sends = board.areas.get(method), board.sends(method)
    ranked = board.ranked(method)
    return {
        "name": method,
        "place": look.place,
        "sends": sends,
        "exposure": EXPOSURE[sends],
        "area": area,
        "ranked": ranked,
        "range": _range(area, board) if area else None,
        "best": ranked and area is not None and area.value == board.best_area(),
        "cells": [_cell(board, method, budget) for budget in board.budgets],
    }


def _cell(board: Board, method: str, budget: int) -> dict[str, Any]:
    cell = board.cells.get((method, budget))
    accuracy = cell.accuracy if cell else None
    return {
        "accuracy": accuracy,
        "best": accuracy is not None and accuracy.mean == board.best(budget),
        "unequal": accuracy is not None and accuracy.n != board.seeds,
        "failed": len(cell.failed) if cell else 0,
    }


def _range(area: Area, board: Board) -> str:
    """From where to where, and on how few budgets."""
    words = f"{area.low:,.0f} to {area.high:,.0f}"
    return words if area.points == len(board.budgets) else f"{words}, {area.points} of {len(board.budgets)} budgets"


def _charts(board: Board, looks: Mapping[str, Look]) -> list[tuple[str, Markup | None]]:
    """Captions and charts; None is what no run measured."""
    teacher = board.teacher_accuracy
    drawn = []
    for x, y, label, caption in CURVES:
        points = {method: found for method in board.methods if (found := board.curve(method, x, y))}
        height = teacher.mean if teacher and y == "accuracy" else None
        budgets, alt = board.budgets if x == "queries" else (), f"{caption}, {board.name}"
        chart = charts.curves(points, looks, (label, y), alt, budgets=budgets, teacher=height) if points else None
        drawn.append((caption, chart))
    return drawn


def _differences(board: Board, baseline: str, looks: Mapping[str, Look]) -> list[dict[str, Any]]:
    """A row per method, a cell per budget; None where no seed is common."""
    found = board.differences(baseline)
    return [
        {"name": method, "place": looks[method].place, "cells": [found.get((method, b)) for b in board.budgets]}
        for method in board.methods
        if method != baseline
    ]


def _choices(boards: Sequence[Board]) -> dict[str, list[tuple[str, str]]]:
    """What can be chosen: value and words, by what the boards differ in."""
    settings = dict.fromkeys(board.setting for board in boards)
    found = {
        "setting": [(str(number), " / ".join(setting)) for number, setting in enumerate(settings)],
        "track": [(track, f"track {track}") for track in sorted({board.track for board in boards})],
        "response": [(name, name) for name in sorted({board.response for board in boards})],
    }
    return {name: values for name, values in found.items() if len(values) > 1}


def _account(rows: Sequence[Row]) -> dict[str, int]:
    """How many of what."""
    return {
        "runs": len(rows),
        "failed": sum(row.status == "failed" for row in rows),
        "methods": len({row.method for row in rows}),
        "seeds": len({row.seed for row in rows}),
        "paid": sum(row.paid for row in rows),
        "queries": sum(row.queries for row in rows),
    }


def _distinct(sections: Any) -> dict[str, list[str]]:
    """The different values of all sections by name, and how many rows have each where they differ."""
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for section in sections:
        for name, value in section.items():
            counts[name][str(value)] += 1
    return {
        name: [value if len(values) == 1 else f"{value} ({count:,} runs)" for value, count in values.items()]
        for name, values in sorted(counts.items())
    }


def _count(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if number == int(number) or number >= 100 else f"{number:,.1f}"


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _four(number: float | None) -> str:
    return "-" if number is None else f"{number:.4f}"


def _seconds(number: float | None) -> str:
    return "-" if number is None else f"{number:,.1f}"
