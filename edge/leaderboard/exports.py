"""The leaderboard's numbers for other programs: a line per method and budget as CSV, and tables for LaTeX."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from edge.leaderboard.boards import MEASURES, Board

AMOUNTS = ("queries", "bytes_up", "bytes_down", "seconds")
TEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
"""Signs that LaTeX reads as commands, or prints as others."""


def lines(board: Board) -> Iterator[dict[str, Any]]:
    """A dictionary per method and budget; None is what was not measured.

    Shares are from 0 to 1. `area` is the mean accuracy in per cent below the curve of the method, from `area_from` to
    `area_to` queries; it is the same at all budgets of a method.
    """
    for method in board.methods:
        area = board.areas.get(method)
        for budget in board.budgets:
            if (cell := board.cells.get((method, budget))) is None:
                continue
            line: dict[str, Any] = {
                **board.setting._asdict(),
                "response": board.response,
                "track": board.track,
                "method": method,
                "budget": budget,
                "sends": board.sends(method),
                "n": len(cell.ok),
                "failed": len(cell.failed),
            }
            for name in MEASURES:
                found = cell.mean(name)
                line[f"{name}_n"] = found.n if found else 0
                line[f"{name}_mean"] = found.mean if found else None
                line[f"{name}_std"] = found.std if found else None
            for name in AMOUNTS:
                amount = cell.mean(name)
                line[f"{name}_mean"] = amount.mean if amount else None
            line["area"] = 100 * area.value if area else None
            line["area_from"], line["area_to"] = (area.low, area.high) if area else (None, None)
            yield line


def as_csv(boards: Sequence[Board]) -> str:
    """All lines of all boards under one header; nothing between two commas is what was not measured."""
    found = [line for board in boards for line in lines(board)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return buffer.getvalue()


def as_tex(boards: Sequence[Board]) -> str:
    r"""A table per setting and track, for a document with \usepackage{booktabs}; accuracy in per cent."""
    in_order = sorted(boards, key=lambda board: (board.setting, board.track))
    tables = [_table(list(group)) for _, group in groupby(in_order, key=lambda board: (board.setting, board.track))]
    return "% \\usepackage{booktabs}\n" + "\n".join(tables)


def escaped(text: str) -> str:
    """As LaTeX prints it."""
    return re.sub(r"\s+", " ", "".join(TEX.get(sign, sign) for sign in text))


def _table(group: Sequence[Board]) -> str:
    """One table; the boards differ in their response."""
    first = group[0]
    budgets = sorted({budget for board in group for budget in board.budgets})
    dataset, teacher, student = map(escaped, first.setting)
    text = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{Accuracy in per cent, mean $\pm$ standard deviation over seeds, by planned queries: {dataset}, "
        rf"teacher {teacher}, student {student}, track {escaped(first.track)}.}}",
        rf"\begin{{tabular}}{{l{'r' * len(budgets)}}}",
        r"\toprule",
        " & ".join(["method", *(f"{budget:,}" for budget in budgets)]) + r" \\",
    ]
    for board in group:
        text += [r"\midrule", rf"\multicolumn{{{len(budgets) + 1}}}{{l}}{{\emph{{{escaped(board.response)}}}}} \\"]
        text += [
            " & ".join([escaped(method), *(_accuracy(board, method, budget) for budget in budgets)]) + r" \\"
            for method in board.methods
        ]
    return "\n".join([*text, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _accuracy(board: Board, method: str, budget: int) -> str:
    cell = board.cells.get((method, budget))
    if cell is None or cell.accuracy is None:
        return "--"
    mean, std, _ = cell.accuracy
    number = rf"\textbf{{{100 * mean:.2f}}}" if mean == board.best(budget) else f"{100 * mean:.2f}"
    return number if std is None else rf"{number} $\pm$ {100 * std:.2f}"
