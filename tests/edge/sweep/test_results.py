from pathlib import Path

from pyarrow.parquet import read_table

from edge.leaderboard.rows import read_rows
from edge.sweep.results import Rows
from tests.edge.leaderboard.sweep_rows import document


def test_parquet_has_every_column_that_any_row_has(tmp_path: Path) -> None:
    rows = Rows(tmp_path)
    rows.add(document(seed=0))
    rows.add(document(seed=1, link="3g"))
    rows.write_parquet()
    assert read_table(rows.parquet).column("link").to_pylist() == [None, "3g"]
    assert read_rows([rows.parquet]) == read_rows([rows.path])
