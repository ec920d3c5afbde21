"""Paired differences against numbers from a table of Student's t."""

from pathlib import Path

import pytest

from edge.experiments.paired import budgets_table, check_comparable, paired, table
from edge.leaderboard.boards import boards
from edge.leaderboard.differences import difference
from edge.leaderboard.rows import Row
from shared.errors import InvalidConfig

T_2 = 4.302653  # 97.5 % quantile of Student's t with two degrees of freedom


def test_only_seeds_that_both_have_are_paired() -> None:
    found = difference({0: 98.0, 1: 97.0, 2: 99.0, 7: 0.0}, {2: 98.5, 0: 97.0, 1: 97.5, 8: 100.0})
    assert found is not None and found.half_width is not None
    assert found.mean == pytest.approx((1 - 0.5 + 0.5) / 3)
    variance = ((1 - 1 / 3) ** 2 + (-0.5 - 1 / 3) ** 2 + (0.5 - 1 / 3) ** 2) / 2
    assert found.half_width == pytest.approx(T_2 * (variance / 3) ** 0.5, rel=1e-5)
    assert not found.excludes_zero()


def test_a_steady_difference_excludes_zero_however_much_the_seeds_differ() -> None:
    found = difference({0: 90.1, 1: 70.12, 2: 50.11}, {0: 90.0, 1: 70.0, 2: 50.0})
    assert found is not None and found.excludes_zero() and str(found).endswith(" *")


def test_a_single_pair_has_no_interval_and_proves_nothing() -> None:
    found = difference({3: 99.0}, {3: 90.0})
    assert found is not None and found.half_width is None and not found.excludes_zero() and str(found) == "+9.00"
    assert difference({3: 99.0}, {4: 90.0}) is None


def test_an_interval_without_width_proves_nothing() -> None:
    found = difference({0: 90.25, 1: 70.25}, {0: 90.0, 1: 70.0})
    assert found is not None and not found.excludes_zero() and str(found) == "+0.25 [+0.25, +0.25]"


def test_equal_differences_of_floats_have_no_width_either() -> None:
    theirs = {0: 100 * 0.9836, 1: 100 * 0.9840, 2: 100 * 0.9828}
    found = difference({0: 100 * 0.9837, 1: 100 * 0.9841, 2: 100 * 0.9829}, theirs)
    assert found is not None and found.half_width == 0 and not found.excludes_zero() and found.pairs == 3


def row(method: str, budget: int, seed: int, accuracy: float | None) -> Row:
    setting = {"track": "A", "dataset": "digits", "teacher": "resnet20", "student": "resnet8", "sends": "synthetic"}
    status = "failed" if accuracy is None else "ok"
    cell = {
        "method": method,
        "response": "soft",
        "budget": budget,
        "seed": seed,
        "accuracy": accuracy,
        "queries": budget,
    }
    return Row.model_validate({**setting, **cell, "status": status})


def test_students_are_compared_within_their_response_and_budget() -> None:
    rows = [
        row("both", 100, 0, 0.95),
        row("pool", 100, 0, 0.9),
        row("both", 200, 0, 0.5),
        row("pool", 100, 1, 0.8),
        row("pool", 200, 0, None),
    ]
    assert table(rows, "pool")[2:] == [
        "| soft, 100 | pool | 85.00 ± 7.07 | 2 |  |",
        "| soft, 100 | both | 95.00 | 1 | +5.00 |",
        "| soft, 200 | both | 50.00 | 1 |  |",
    ]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"student": "resnet20"}, "resnet20 / track A; digits / resnet20 / resnet8 / track A"),
        ({"teacher": "b"}, "digits / b / resnet8 / track A; digits / resnet20 / resnet8 / track A"),
        ({"track": "B"}, "resnet8 / track A; digits / resnet20 / resnet8 / track B"),
    ],
)
def test_rows_of_several_students_teachers_or_tracks_are_not_mixed(
    tmp_path: Path, other: dict[str, str], told: str
) -> None:
    one = row("pool", 100, 0, 0.9)
    rows = [one, one.model_copy(update=other)]
    (file := tmp_path / "rows.jsonl").write_text("\n".join(each.model_dump_json() for each in rows))
    with pytest.raises(InvalidConfig, match=told):
        paired([file])


def test_an_interval_of_fewer_pairs_than_seeds_says_so_and_nobody_is_compared_with_nothing() -> None:
    rows = [row("both", 100, seed, 0.9 + seed / 100) for seed in range(3)] + [row("pool", 100, 1, 0.9)]
    assert table(rows, "pool")[-1] == "| soft, 100 | both | 91.00 ± 1.00 | 3 | +1.00 (n 1) |"
    with pytest.raises(InvalidConfig, match=r"No row is of the method 'kl'.* both, pool"):
        table(rows, "kl")


def test_students_of_several_recipes_are_not_mixed_in_track_a(tmp_path: Path) -> None:
    short, long, own = (
        row("pool", 100, seed, 0.9).model_copy(update={"config": {"distillation": {"steps": steps}}, "track": track})
        for seed, steps, track in ((0, 600, "A"), (1, 2000, "A"), (2, 2000, "B"))
    )
    with pytest.raises(InvalidConfig, match=r"steps differ \(steps: 2000, 600\)"):
        check_comparable([short, long])
    with pytest.raises(InvalidConfig, match="steps differ"):
        boards([short, long])
    check_comparable([short, row("pool", 100, 1, 0.9)])  # of an unknown recipe
    assert len(boards([short, own])) == 2


def test_many_methods_are_told_by_budget_the_best_first() -> None:
    rows = [row("both", 100, 0, 0.95), row("both", 100, 1, 0.85), row("pool", 100, 0, 0.9), row("pool", 200, 0, 0.91)]
    assert budgets_table([*rows, row("both", 200, 0, None)]) == [
        "| responses | method | sends | 100 | 200 |",
        "|---|---|---|---|---|",
        "| soft | pool | synthetic | 90.00 (n 1) | 91.00 (n 1) |",
        "| soft | both | synthetic | 90.00 ± 7.07 | - |",
    ]
