import csv
import io
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest

from edge.leaderboard import charts
from edge.leaderboard.boards import Board, boards
from edge.leaderboard.exports import as_csv, as_tex, escaped
from edge.leaderboard.page import page
from edge.leaderboard.rows import Row
from edge.report.charts import INK
from shared.errors import InvalidConfig
from tests.edge.html_page import Page
from tests.edge.leaderboard.sweep_rows import row, sweep


def rows() -> list[Row]:
    return [Row.model_validate(document) for document in sweep()]


def shown(found: Sequence[Row], against: str | None = None) -> Page:
    return Page(page(boards(found, against), against))


@cache
def whole() -> str:
    """The page of `rows`."""
    return page(boards(rows()), None)


def the_board(found: Sequence[Row]) -> Board:
    (board,) = boards(found)
    return board


def section(told: Page, start: str, end: str) -> list[str]:
    """Words between two headings."""
    first = told.words.index(start)
    return told.words[first + 1 : told.words.index(end, first)]


def test_the_page_holds_everything_and_refers_to_nothing() -> None:
    text = whole()
    told = Page(text)
    assert all(reference.startswith("#") for reference in told.references)
    assert {reference.removeprefix("#") for reference in told.references} <= set(re.findall(r'id="([^"]+)"', text))
    assert not {"link", "iframe", "base", "object", "img"} & set(told.tags) and told.tags.count("script") == 1
    assert not re.search(r"https?://|@import|url\((?!#)", text.replace("http://www.w3.org/", ""))
    assert "prefers-color-scheme: dark" in text and INK not in text
    for response in ("soft", "top1"):
        for start in ("Accuracy by queries", "Fidelity by queries", "Accuracy by bytes", "Pareto front"):
            assert any(chart.startswith(start) and response in chart for chart in told.charts)


def test_no_two_charts_share_the_name_of_what_clips_them() -> None:
    found = re.findall(r'<clipPath id="([^"]+)"', whole())
    assert len(found) > 1 and len(found) == len(set(found))


def test_a_row_of_the_table_has_the_area_and_mean_deviation_and_seeds_by_budget() -> None:
    # Means 0.81 and 0.86 at 100 and 1,000 queries; over one factor of ten the area is their mean.
    lq = ["lq", "synthetic", "synthetic", "83.50", "81.00", "± 1.00", "n 3", "86.00", "± 1.00", "n 3"]
    words = section(Page(whole()), "Track A, soft responses", "Curves")
    place = words.index("lq")
    assert words[place : place + len(lq)] == lq


def test_failed_runs_are_named_and_missing_cells_are_dashes() -> None:
    found = [*rows(), row(method="late", budget=1000, accuracy=0.5)]
    words = section(shown(found), "Track A, soft responses", "Curves")
    assert "n 2, 1 failed" in words
    assert words[words.index("noise", words.index("1 failed run")) + 1] == (
        ", 1,000 queries, seed 2: the loss is no number"
    )
    late = words[words.index("late") :]
    assert late[3:6] == ["-", "-", "50.00"]  # neither an area of one budget nor a cell


def test_the_best_of_a_column_is_marked_and_an_unusual_number_of_seeds_as_well() -> None:
    text = whole()
    assert set(re.findall(r'class="best">([\d.]+)<', text)) == {"91.00", "96.00", "93.50"}
    assert re.findall(r'class="seeds odd">n (\d)', text) == ["2", "2", "2", "2"]  # in two tables of two boards


def test_a_method_with_another_range_comes_after_the_ranked_ones_and_says_its_range() -> None:
    few = [row(method="few", budget=budget, accuracy=0.99) for budget in (500, 1000)]
    board = the_board([*(one for one in rows() if one.response == "soft"), *few])
    assert board.methods == ["kd", "lq", "noise", "few"]
    assert not board.ranked("few") and board.best_area() == pytest.approx(0.935)
    words = section(Page(page([board], None)), "Track A, soft responses", "Curves")
    assert "500 to 1,000, 2 of 3 budgets" in words


def test_a_missing_interior_budget_is_another_range_too() -> None:
    found = [row(method=method, budget=budget) for method in "ab" for budget in (10, 100, 1000)]
    found += [row(method="c", budget=budget, accuracy=0.95) for budget in (10, 1000)]
    assert [method for method in the_board(found).methods if the_board(found).ranked(method)] == ["a", "b"]


def test_differences_are_paired_by_seed_with_intervals_and_stars() -> None:
    # Differences 1, 2 and 3 points: mean 2, standard error 1/sqrt(3), t(2; 0.975) = 4.3027.
    found = [row(method="lq", seed=seed, accuracy=0.5) for seed in range(4)]
    found += [row(method="kd", seed=seed, accuracy=0.51 + seed / 100) for seed in range(3)]
    found += [row(method="pool", seed=seed, accuracy=0.6 + seed / 1000) for seed in range(4)]
    found += [row(method="other", seed=9, accuracy=0.6)]
    words = section(shown(found), "Against lq, paired by seed", "All measures")
    assert words[words.index("kd") + 1 :][:3] == ["+2.00", "[-0.48, +4.48]", "n 3"]
    assert words[words.index("pool") + 1] == "+10.15 *"
    assert words[words.index("other") + 1] == "-"  # no seed in common


def test_what_to_compare_with_is_lq_or_else_the_first_or_what_was_chosen() -> None:
    assert "Against lq, paired by seed" in Page(whole()).words
    others = [one for one in rows() if one.method != "lq"]
    assert "Against kd, paired by seed" in shown(others).words
    assert "Against noise, paired by seed" in shown(rows(), "noise").words
    elsewhere = [*rows(), row(method="rare", track="B")]
    assert "No run here is of rare, which the methods were to be compared with." in shown(elsewhere, "rare").words
    with pytest.raises(InvalidConfig, match=r"No row is of the method 'nothing'.*kd, lq, noise"):
        boards(rows(), "nothing")


def test_the_pareto_table_has_the_members_from_the_fewest_queries_to_the_most() -> None:
    words = section(Page(whole()), "Pareto front: accuracy, queries, privacy", "Against lq, paired by seed")
    methods = [word for word in words[words.index("privacy") :] if word in ("lq", "kd", "noise")]
    assert methods == ["lq", "kd", "lq", "kd"]  # both at both budgets: kd is better, and sends real images


def test_the_foot_tells_what_was_paid_and_what_separate_runs_would_have_paid() -> None:
    words = " ".join(Page(whole()).words)
    # 3 methods x 2 responses x (100 + 1,000), paid by one seed of three.
    assert "The rows paid 6,600 queries in all. Separate runs would have paid 19,800" in words
    assert "abc1234" in words and "x86_64" in words


def test_a_name_cannot_become_markup_or_a_command() -> None:
    names = ("<script>alert(1)</script>", 'a_b% & "c" {{ 7 * 7 }}')
    found = [
        row(method=name, teacher=name, dataset=name, budget=budget, seed=seed, error=name, software={name: name})
        for name in names
        for budget in (100, 1000)
        for seed in (0, 1)
    ]
    found.append(row(method=names[0], status="failed", error="<b>no</b>", accuracy=None))
    told = shown(found)
    assert told.tags.count("script") == 1 and set(names) <= set(told.words)
    assert {"<b>no</b>", ", 100 queries, seed 0: <b>no</b>"} & set(told.words)
    tex = as_tex(boards(found))
    assert r"\textless{}script\textgreater{}alert(1)" in tex and r"a\_b\% \& " in tex
    assert not re.search(r"(?<!\\)[%&_#$](?![^\n]*booktabs)", re.sub(r" & |\$\\pm\$", " ", tex))


def test_every_sign_that_latex_reads_is_escaped() -> None:
    assert escaped("a_b% {c} #$&\n<x>|") == r"a\_b\% \{c\} \#\$\& \textless{}x\textgreater{}\textbar{}"
    assert escaped("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"


def test_the_csv_has_a_line_per_method_and_budget_with_the_numbers_of_the_page() -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(boards(rows())))))
    assert len(lines) == 2 * 3 * 2
    (line,) = [one for one in lines if (one["response"], one["method"], one["budget"]) == ("soft", "noise", "1000")]
    assert (line["n"], line["failed"], line["accuracy_n"], line["sends"]) == ("2", "1", "2", "noise")
    numbers = {
        "accuracy_mean": 0.355,
        "accuracy_std": 0.5**0.5 / 100,
        "kl_nats_mean": 0.25,
        "calibration_error_std": 0,
        "queries_mean": 1000,
        "bytes_up_mean": 70_000,
        "seconds_mean": 12.5,
        "area": (31 + 35.5) / 2,
        "area_from": 100,
        "area_to": 1000,
    }
    assert {name: float(line[name]) for name in numbers} == pytest.approx(numbers)


def test_the_latex_table_has_methods_as_rows_budgets_as_columns_and_a_group_per_response() -> None:
    tex = as_tex(boards([*rows(), row(method="late", budget=1000, accuracy=0.5)]))
    assert tex.count(r"\begin{table}") == tex.count(r"\bottomrule") == 1
    assert tex.index(r"\emph{soft}") < tex.index(r"\emph{top1}")
    assert r"method & 100 & 1,000 \\" in tex
    assert r"kd & \textbf{91.00} $\pm$ 1.00 & \textbf{96.00} $\pm$ 1.00 \\" in tex
    assert r"late & -- & 50.00 \\" in tex
    heads = {line.count("&") for line in tex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line}
    assert heads == {2}


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": None, "fidelity": None, "kl_nats": None, "calibration_error": None, "teacher_accuracy": None},
        {"queries": 0, "bytes_up": 0, "bytes_down": 0},
        {"status": "failed", "error": None, "accuracy": None},
        {"accuracy": 1.0, "fidelity": 0.0},
    ],
)
def test_a_single_row_has_a_page_whatever_it_lacks(changes: dict[str, Any]) -> None:
    found = boards([row(**changes)])
    assert "Track A, soft responses" in Page(page(found, None)).words
    assert as_csv(found).count("\n") == 2 and r"\bottomrule" in as_tex(found)


def test_fourteen_methods_look_different() -> None:
    looks = [charts.Look(place) for place in range(14)]
    assert len({look.drawn["marker"] for look in looks}) == 14
    assert len({(look.drawn["color"], str(look.dashes)) for look in looks}) == 14


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (100, 4000, [100, 200, 500, 1000, 2000]),
        (10, 10_000, [10, 30, 100, 300, 1000, 3000, 10_000]),
        (250, 250, [250]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_shares_from_bottom_to_top_are_stretched_and_close_ones_are_not() -> None:
    assert charts.stretched([0.3, 0.95]) and not charts.stretched([0.9, 0.95]) and not charts.stretched([0.1, 0.5])
