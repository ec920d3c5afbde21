"""The students of a sweep as a Markdown table: means, and differences paired by seed with their intervals.

    python -m edge.experiments.paired edge/experiments/results/mnist.jsonl --against pool

    python -m edge.experiments.paired edge/experiments/results/digits.jsonl --by-budget

Two students are a pair where all but the method is equal. The interval is Student's for the mean difference, 95 %, in
percentage points; one that excludes 0 is marked with a star. `--by-budget` makes a shorter table, for many methods:
means and standard deviations alone, a column for each budget, with the number of seeds where some are missing.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.experiments.tables import header, line, spread
from edge.leaderboard.differences import difference
from edge.leaderboard.rows import Row, check_known, check_one_recipe, read_rows
from shared import command_line
from shared.errors import InvalidConfig


def paired(
    files: Annotated[list[Path], typer.Argument(help="Rows of sweeps, .jsonl or .parquet.")],
    against: Annotated[str, typer.Option(help="Method to compare the others with.")] = "pool",
    by_budget: Annotated[bool, typer.Option("--by-budget", help="Means alone, a column per budget.")] = False,
) -> None:
    """Print a Markdown table: a row per response, number of queries and method."""
    rows = read_rows(files)
    check_comparable(rows)
    print("\n".join(budgets_table(rows) if by_budget else table(rows, against)))  # noqa: T201 - its product


def check_comparable(rows: Sequence[Row]) -> None:
    """Refuse rows that do not belong in one table.

    Raises:
        InvalidConfig: lists what they are of, or names what differs in the recipes of track A.
    """
    if len(settings := {(*row.setting, f"track {row.track}") for row in rows}) > 1:
        listed = "; ".join(sorted(" / ".join(setting) for setting in settings))
        raise InvalidConfig(
            f"These are rows of several datasets, teachers, students or tracks, a table each: {listed}."
        )
    check_one_recipe(rows)


def table(rows: Sequence[Row], against: str) -> list[str]:
    """Lines of the table; students that could not be made are no part of it.

    Raises:
        InvalidConfig: no row is of the method to compare with.
    """
    check_known(against, rows)
    by_cell: dict[tuple[str, int], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row.accuracy is not None:
            by_cell[row.response, row.budget][row.method][row.seed] = 100 * row.accuracy
    lines = header(["response, queries", "method", "accuracy", "n", f"against {against}"])
    for (response, budget), methods in sorted(by_cell.items()):
        for method, by_seed in sorted(methods.items(), key=lambda item: (item[0] != against, item[0])):
            compared = difference(by_seed, methods.get(against, {})) if method != against else None
            accuracy = spread(list(by_seed.values()))
            n = f" (n {compared.pairs})" if compared and compared.pairs != len(by_seed) else ""
            lines.append(f"| {response}, {budget:,} | {method} | {accuracy} | {len(by_seed)} | {compared or ''}{n} |")
    return lines


def budgets_table(rows: Sequence[Row]) -> list[str]:
    """Lines of the shorter table; methods in the order of their accuracy at the largest budgets."""
    cells: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    sends = {row.method: row.sends for row in rows}
    for row in rows:
        if row.accuracy is not None:
            cells[row.response, row.method][row.budget].append(100 * row.accuracy)
    budgets = sorted({row.budget for row in rows}, reverse=True)
    most = max((len(cell) for found in cells.values() for cell in found.values()), default=0)

    def rank(cell: tuple[str, str]) -> tuple[Any, ...]:
        found = cells[cell]
        return cell[0], *(-statistics.mean(found[budget]) if budget in found else 0.0 for budget in budgets)

    lines = header(["responses", "method", "sends", *(f"{budget:,}" for budget in reversed(budgets))])
    for response, method in sorted(cells, key=rank):
        found = [cells[response, method].get(budget, []) for budget in reversed(budgets)]
        told = [spread(cell) + (f" (n {len(cell)})" if 0 < len(cell) < most else "") for cell in found]
        lines.append(line([response, method, sends[method], *told]))
    return lines


if __name__ == "__main__":
    command_line.run(lambda: typer.run(paired))
