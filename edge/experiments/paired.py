"""The students of a sweep as a Markdown table: means, and differences paired by seed with their intervals.

    python -m edge.experiments.paired edge/experiments/results/mnist.jsonl --against pool

Two students are a pair where all but the method is equal. The interval is Student's for the mean difference, 95 %, in
percentage points; one that excludes 0 is marked with a star.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from edge.leaderboard.differences import difference
from edge.leaderboard.rows import Row, read_rows
from shared import command_line

HEADER = "| response, queries | method | accuracy | n | against {} |"


def paired(
    files: Annotated[list[Path], typer.Argument(help="Rows of sweeps, .jsonl or .parquet.")],
    against: Annotated[str, typer.Option(help="Method to compare the others with.")] = "pool",
) -> None:
    """Print a Markdown table: a row per response, number of queries and method."""
    print("\n".join(table(read_rows(files), against)))  # noqa: T201 - the product of this command


def table(rows: Sequence[Row], against: str) -> list[str]:
    """Lines of the table; students that could not be made are no part of it."""
    by_cell: dict[tuple[str, int], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        if row.accuracy is not None:
            by_cell[row.response, row.budget][row.method][row.seed] = 100 * row.accuracy
    header = HEADER.format(against)
    lines = [header, "|---" * (header.count("|") - 1) + "|"]
    for (response, budget), methods in sorted(by_cell.items()):
        for method, by_seed in sorted(methods.items(), key=lambda item: (item[0] != against, item[0])):
            compared = difference(by_seed, methods.get(against, {})) if method != against else None
            spread = f" ± {statistics.stdev(by_seed.values()):.2f}" if len(by_seed) > 1 else ""
            accuracy = f"{statistics.mean(by_seed.values()):.2f}{spread}"
            lines.append(f"| {response}, {budget:,} | {method} | {accuracy} | {len(by_seed)} | {compared or ''} |")
    return lines


if __name__ == "__main__":
    command_line.run(lambda: typer.run(paired))
