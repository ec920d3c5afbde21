"""The tables of the README are what the rows in the repository say."""

from pathlib import Path

import pytest

from edge.experiments import paired
from edge.leaderboard.rows import read_rows

ROOT = Path(__file__).parent.parent.parent.parent
RESULTS = sorted((ROOT / "edge" / "experiments" / "results").glob("*.jsonl"))


@pytest.mark.parametrize("rows", RESULTS, ids=lambda rows: rows.name)
def test_the_readme_shows_the_table_of_the_rows(rows: Path) -> None:
    assert "\n".join(paired.table(read_rows([rows]), "pool")) in (ROOT / "README.md").read_text()
