"""Take the rows of a sweep into the repository, and write the README's table of them anew.

    python -m edge.experiments.publish runs/digits/rows.jsonl --as digits

Taken are the rows of the grid of that name, `digits.toml`, with its settings; one folder may serve several grids.
Rows that failed stay out; of a cell that is there already the new row counts. In the README the table of a results
file stands between two comments, the first of which names it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from edge.experiments.paired import budgets_table, check_comparable, table
from edge.leaderboard.rows import Row, read_rows
from edge.sweep.grid import Cell, Sweep, cells, config_of, read_sweep
from edge.sweep.results import done
from shared import command_line
from shared.checkpoints import write_atomically
from shared.errors import InvalidConfig

ROOT = Path(__file__).parent.parent.parent
MOST_COMPARED = 6
"""Methods; of more, the table by budgets is shown."""


def publish(
    rows: Annotated[list[Path], typer.Argument(help="Rows of sweeps, rows.jsonl.")],
    name: Annotated[str, typer.Option("--as", help="Of the results file.", metavar="NAME")],
    root: Annotated[Path, typer.Option(help="The repository.")] = ROOT,
) -> None:
    """Update a results file and its table in the README."""
    experiments, readme = root / "edge" / "experiments", root / "README.md"
    results, grid = experiments / "results" / f"{name}.jsonl", read_sweep(experiments / f"{name}.toml", {})
    lines = merged([*([results] if results.exists() else []), *rows], grid)
    text = with_table(readme.read_text(), name, lines_of_table([Row.model_validate_json(line) for line in lines]))
    write_atomically(results, "".join(line + "\n" for line in lines).encode())
    write_atomically(readme, text.encode())


def merged(files: Iterable[Path], grid: Sweep) -> list[str]:
    """The lines of the grid's rows in all files that did not fail, each cell where it came first, with its last row.

    Raises:
        InvalidConfig: a file or a row cannot be read, or there is none.
    """
    configs = {cell: config_of(cell, grid) for cell in cells(grid)}
    by_cell = {}
    for file in files:
        read_rows([file])  # says what is wrong
        for row in map(json.loads, file.read_text().splitlines()):
            cell = Cell(**{field.name: row[field.name] for field in fields(Cell)})
            if cell in configs and done(row, configs[cell]):
                by_cell[cell] = json.dumps(row)
    return list(by_cell.values())


def lines_of_table(rows: Sequence[Row]) -> list[str]:
    """The README's table of these rows.

    Raises:
        InvalidConfig: they do not belong in one table.
    """
    check_comparable(rows)
    many = len({row.method for row in rows}) > MOST_COMPARED
    return budgets_table(rows) if many else table(rows, "pool")


def with_table(readme: str, name: str, lines: Sequence[str]) -> str:
    """The README with these lines where its table of `name` was.

    Raises:
        InvalidConfig: it has no place for one.
    """
    place = re.compile(rf"(<!-- table of {re.escape(name)} -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)
    if not place.search(readme):
        raise InvalidConfig(
            f"The README has no table of {name}. Add '<!-- table of {name} -->' and, on a line below, '<!-- end -->' "
            "where it is to stand."
        )
    return place.sub(lambda found: "\n".join([found[1], *lines, "", found[2]]), readme)


if __name__ == "__main__":
    command_line.run(lambda: typer.run(publish))
