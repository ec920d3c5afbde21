"""Tables of results are what the rows in the repository say."""

import json
import re
import shutil
from pathlib import Path

import pytest

from edge.experiments.publish import lines_of_table, publish, rows_of
from edge.experiments.summary import PANELS, picture, summarise, summary_table
from edge.experiments.tables import ROOT, with_table
from edge.leaderboard.rows import read_rows
from edge.sweep.grid import read_sweep
from shared.errors import InvalidConfig

REMEDY = "python -m edge.experiments.summary"
RESULTS = sorted((ROOT / "edge" / "experiments" / "results").glob("*.jsonl"))


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.name)
def test_the_page_of_results_shows_the_table_of_the_rows(file: Path) -> None:
    page = (ROOT / "edge" / "experiments" / "README.md").read_text()
    assert with_table(page, file.stem, lines_of_table(read_rows([file]))) == page


def test_the_readme_sums_up_the_rows() -> None:
    readme, drawing = (ROOT / "README.md").read_text(), ROOT / "edge" / "experiments" / "summary.svg"
    assert with_table(readme, "summary", summary_table(RESULTS[0].parent)) == readme, REMEDY
    assert drawing.read_bytes() == picture(RESULTS[0].parent), REMEDY


def test_every_table_on_the_page_has_rows() -> None:
    page = (ROOT / "edge" / "experiments" / "README.md").read_text()
    assert set(re.findall(r"<!-- table of (\S+) -->", page)) == {file.stem for file in RESULTS}


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.name)
def test_all_rows_are_of_the_grid_of_their_name(file: Path) -> None:
    rows, others = rows_of(read_sweep(ROOT / "edge" / "experiments" / f"{file.stem}.toml", {}), [file])
    assert rows and not others


def copied(root: Path) -> Path:
    """The results in a repository of their own, whose README has a place for the summary."""
    (root / "README.md").write_text("before\n<!-- table of summary -->\n<!-- end -->\nafter\n")
    return Path(shutil.copytree(RESULTS[0].parent, root / "edge" / "experiments" / "results"))


def test_new_rows_replace_those_of_their_cells_and_failed_ones_stay_out(tmp_path: Path) -> None:
    results = copied(tmp_path)
    shutil.copy(RESULTS[0], results / "some.jsonl")
    shutil.copy(ROOT / "edge" / "experiments" / f"{RESULTS[0].stem}.toml", results.parent / "some.toml")
    first, second, *rest = (json.loads(line) for line in RESULTS[0].read_text().splitlines())
    (results.parent / "README.md").write_text("before\n\n<!-- table of some -->\n\n\n\n<!-- end -->\n\nafter\n")
    new = [first | {"accuracy": 0.125}, second | {"status": "failed", "accuracy": None}, first | {"seed": 77}]
    new.append(second | {"config": second["config"] | {"request": 7}, "accuracy": 0.5})
    (rows := tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in new))
    publish([rows], "some", tmp_path)
    taken = [json.loads(line) for line in (results / "some.jsonl").read_text().splitlines()]
    assert taken == [new[0], second, *rest], "the others are of another grid, or of another config"
    page = (results.parent / "README.md").read_text()
    assert page.startswith("before\n\n<!-- table of some -->\n\n| response") and page.endswith("-->\n\nafter\n")
    assert (tmp_path / "README.md").read_text().count("\n| MNIST |") == 2, "the summary is written, too"
    (other := tmp_path / "other.jsonl").write_text(json.dumps(first | {"teacher_accuracy": 0.25}))
    with pytest.raises(InvalidConfig, match=r"one accuracy of the teacher; these have \[0.25, "):
        publish([other], "some", tmp_path)
    assert json.loads((results / "some.jsonl").read_text().splitlines()[0]) == new[0], "nothing is half written"
    (results.parent / "some.toml").rename(results.parent / "other.toml")
    with pytest.raises(InvalidConfig, match="no table of other"):
        publish([rows], "other", tmp_path)
    (results.parent / "some.toml").write_text("methods = ['pool']\nseeds = [99]\n")
    with pytest.raises(InvalidConfig, match=rf"{len(taken)} rows in .*some.jsonl are not of its grid as it is now"):
        publish([rows], "some", tmp_path)
    assert len((results / "some.jsonl").read_text().splitlines()) == len(taken)


def test_a_table_takes_the_place_between_its_own_marks_and_no_other() -> None:
    def place(name: str, *between: str) -> str:
        return "\n".join([f"<!-- table of {name} -->", *between, "<!-- end -->", "", ""])

    for empty in [(), ("",), ("", ""), ("", "| old |", "")]:
        made = with_table(place("some", *empty) + place("other", "", "| other |", ""), "some", ["| new |"])
        assert made == place("some", "", "| new |", "") + place("other", "", "| other |", "")
    with pytest.raises(InvalidConfig, match="no table of some"):
        with_table("<!-- table of some -->\n" + place("other", "", "| other |", ""), "some", ["| new |"])


def test_a_summary_is_written_to_the_readme_and_drawn(tmp_path: Path) -> None:
    rows, readme = copied(tmp_path) / "mnist-100000.jsonl", tmp_path / "README.md"
    rows.write_text(rows.read_text().replace('"accuracy": 0.99', '"accuracy": 0.87'))
    summarise(tmp_path)
    (line,) = (line for line in readme.read_text().splitlines() if "| 100,000 |" in line)
    assert re.search(r"\| 87\.\d\d ± \d\.\d\d \| - \| - \|", line), "lq has rows there, pool and kd have none"
    drawing = (rows.parent.parent / "summary.svg").read_text()
    assert all(panel.title in drawing for panel in PANELS) and drawing.startswith("<?xml")
