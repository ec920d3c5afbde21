import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from edge.leaderboard.rows import read_rows
from edge.leaderboard.writing import write_leaderboard
from shared.errors import InvalidConfig
from tests.edge.leaderboard.sweep_rows import document, row, sweep, written

ROOT = Path(__file__).parents[3]
NESTED = ("queries_by_stage", "config", "software", "hardware")


def as_parquet(path: Path, documents: list[dict[str, Any]]) -> Path:
    flat = [one | {name: json.dumps(one[name]) for name in NESTED} for one in documents]
    parquet.write_table(pyarrow.Table.from_pylist(flat), path)
    return path


def test_parquet_and_json_lines_of_the_same_rows_make_the_same_files(tmp_path: Path) -> None:
    first = write_leaderboard([written(tmp_path / "rows.jsonl", sweep())], tmp_path / "a")
    second = write_leaderboard([as_parquet(tmp_path / "rows.parquet", sweep())], tmp_path / "b")
    assert set(first) == {"html", "csv", "tex"}
    assert {kind: path.read_bytes() for kind, path in first.items()} == {
        kind: path.read_bytes() for kind, path in second.items()
    }


def test_of_two_rows_that_measure_the_same_the_last_one_counts(tmp_path: Path) -> None:
    first = written(tmp_path / "a.jsonl", [document(accuracy=0.1, status="failed"), document(seed=1)])
    second = written(tmp_path / "b.jsonl", [document(accuracy=0.2)])
    assert [(one.seed, one.accuracy, one.status) for one in read_rows([first, second])] == [
        (1, 0.9, "ok"),
        (0, 0.2, "ok"),
    ]


@pytest.mark.parametrize("name", ["method", "track", "dataset", "teacher", "student", "response", "budget", "seed"])
def test_rows_that_differ_in_one_part_of_the_cell_both_count(tmp_path: Path, name: str) -> None:
    other: dict[str, Any] = {"track": "B", "response": "top1", "budget": 7, "seed": 9}
    file = written(tmp_path / "rows.jsonl", [document(), document(**{name: other.get(name, "another")})])
    assert len(read_rows([file])) == 2


def test_what_a_later_sweep_adds_is_ignored_and_blank_lines_too(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n" + json.dumps(document(novelty=1)) + "\n\n")
    assert read_rows([file]) == [row()]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (json.dumps(document(accuracy=93.5)), r"'accuracy': .*\(given: 93.5\)"),
        (json.dumps(document(accuracy=float("nan"))), r"'accuracy'"),
        (json.dumps(document(track="C")), r"'track': .*\(given: 'C'\)"),
        (json.dumps({k: v for k, v in document().items() if k != "sends"}), "'sends': Field required"),
        (json.dumps(document(config="{")), "'config'"),
        ("[1, 2]", "dictionary"),
        ("{", "is no JSON"),
    ],
)
def test_a_bad_row_is_named_with_its_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(document()) + "\n" + line + "\n")
    with pytest.raises(InvalidConfig, match=rf"rows\.jsonl, line 2, .*{said}"):
        read_rows([file])


def test_a_bad_row_of_parquet_is_named_with_its_number(tmp_path: Path) -> None:
    file = as_parquet(tmp_path / "rows.parquet", [document(), document(seed=1, accuracy=1.5)])
    with pytest.raises(InvalidConfig, match=r"rows\.parquet, row 2, .*'accuracy'.*1\.5"):
        read_rows([file])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("rows.csv", b"", r"neither \.jsonl nor \.parquet"),
        ("absent.jsonl", None, "There is no file"),
        ("rows.jsonl", b"", "not one row"),
        ("rows.jsonl", b"\xff\n", "byte 0 is not UTF-8"),
        ("rows.parquet", b"PAR1 or not", "cannot be read as Parquet"),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidConfig, match=said):
        read_rows([tmp_path / name])


def test_without_pyarrow_the_extra_that_brings_it_is_named(tmp_path: Path) -> None:
    file = as_parquet(tmp_path / "rows.parquet", [document()])
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')")
    code = (
        "import sys; from pathlib import Path; from edge.leaderboard.rows import read_rows\n"
        "try: read_rows([Path(sys.argv[1])])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    said = subprocess.run(
        [sys.executable, "-c", code, str(file)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert said.stdout.startswith("InvalidConfig") and 'pip install ".[sweep]"' in said.stdout, said.stderr
