"""The tables of the README are what the rows in the repository say."""

from pathlib import Path

import pytest

from edge.experiments import paired
from edge.leaderboard.rows import read_rows

ROOT = Path(__file__).parent.parent.parent.parent
MOST_COMPARED = 6
"""Methods; of more, the table by budgets is shown."""
RESULTS = sorted((ROOT / "edge" / "experiments" / "results").glob("*.jsonl"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.name)
def test_the_readme_shows_the_table_of_the_rows(file: Path) -> None:
    rows = read_rows([file])
    many = len({row.method for row in rows}) > MOST_COMPARED
    table = paired.budgets_table(rows) if many else paired.table(rows, "pool")
    assert "\n".join(table) in (ROOT / "README.md").read_text()
