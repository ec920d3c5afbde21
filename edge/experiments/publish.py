"""Take the rows of a sweep into the repository, and write anew what is shown of them.

    python -m edge.experiments.publish runs/digits/rows.jsonl --as digits

Taken are the rows of the grid of that name, `digits.toml`, with its settings; one folder may serve several grids.
Rows that failed stay out; of a cell that is there already the new row counts. Written are the grid's table on the
page of results, README.md beside this file, and the summary of all grids (`edge.experiments.summary`).
"""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.experiments.paired import budgets_table, check_comparable, table
from edge.experiments.summary import summarise, teacher
from edge.experiments.tables import ROOT, with_table
from edge.leaderboard.rows import Row, rows_and_documents
from edge.sweep.grid import Cell, Sweep, cells, config_of, read_sweep
from edge.sweep.results import done
from shared import command_line
from shared.errors import InvalidConfig
from shared.whole_files import write_atomically

MOST_COMPARED = 8
"""Methods; of more, and where `BASELINE` is none of them, the table by budgets is shown."""
BASELINE = "pool"


def publish(
    rows: Annotated[list[Path], typer.Argument(help="Rows of sweeps, rows.jsonl.")],
    name: Annotated[str, typer.Option("--as", help="Of the results file.", metavar="NAME")],
    root: Annotated[Path, typer.Option(help="The repository.")] = ROOT,
) -> None:
    """Update a results file, its table on the page of results, and the summary."""
    experiments = root / "edge" / "experiments"
    page = experiments / "README.md"
    results, grid = experiments / "results" / f"{name}.jsonl", read_sweep(experiments / f"{name}.toml", {})
    lines = merged(results, rows, grid)
    merged_rows = [Row.model_validate_json(line) for line in lines]
    teacher(merged_rows)  # the summary, written last, would refuse several
    text = with_table(page.read_text(), name, lines_of_table(merged_rows))
    write_atomically(results, "".join(line + "\n" for line in lines).encode())
    write_atomically(page, text.encode())
    summarise(root)


def merged(results: Path, new: Sequence[Path], grid: Sweep) -> list[str]:
    """The lines of the grid's rows in all files that did not fail, each cell where it came first, with its last row.

    Raises:
        InvalidConfig: a file or a row cannot be read, none is of the grid, or one that is published is not.
    """
    by_cell, others = rows_of(grid, [results] if results.exists() else [])
    if others:
        raise InvalidConfig(
            f"{len(others)} rows in {results} are not of its grid as it is now, the first one {others[0]}. Put the "
            "grid back, or remove the file if its rows are to go."
        )
    by_cell |= rows_of(grid, new)[0]
    if not by_cell:
        raise InvalidConfig(f"None of the rows in {', '.join(map(str, new))} is of the grid.")
    return [json.dumps(row) for row in by_cell.values()]


def rows_of(grid: Sweep, files: Sequence[Path]) -> tuple[dict[Cell, dict[str, Any]], list[str]]:
    """Last row of every cell of the grid in these files that was made with its settings, and the names of all others.

    Raises:
        InvalidConfig: a file or a row cannot be read.
    """
    configs = {cell: config_of(cell, grid) for cell in cells(grid)}
    by_cell, others = {}, []
    for _, row in rows_and_documents(files):
        cell = Cell(**{field.name: row[field.name] for field in fields(Cell)})
        if cell in configs and done(row, configs[cell]):
            by_cell[cell] = row
        else:
            others.append(cell.name)
    return by_cell, others


def lines_of_table(rows: Sequence[Row]) -> list[str]:
    """The page's table of these rows.

    Raises:
        InvalidConfig: they do not belong in one table.
    """
    check_comparable(rows)
    methods = {row.method for row in rows}
    by_budget = len(methods) > MOST_COMPARED or BASELINE not in methods
    return budgets_table(rows) if by_budget else table(rows, BASELINE)


if __name__ == "__main__":
    command_line.run(lambda: typer.run(publish))
