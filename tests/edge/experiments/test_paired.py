"""Paired differences against numbers from a table of Student's t."""

import json
from pathlib import Path

import pytest

from edge.experiments.paired import difference, read, table
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


def test_students_are_compared_within_their_response_and_budget() -> None:
    def row(variant: str, queries: int, seed: int, accuracy: float) -> dict[str, object]:
        return {"variant": variant, "response": "soft", "queries": queries, "seed": seed, "accuracy": accuracy}

    rows = [row("kl", 100, 0, 0.9), row("both", 100, 0, 0.95), row("both", 200, 0, 0.5), row("kl", 100, 1, 0.8)]
    assert table(rows, "kl")[2:] == [
        "| soft, 100 | kl | 85.00 ± 7.07 | 2 |  |",
        "| soft, 100 | both | 95.00 | 1 | +5.00 |",
        "| soft, 200 | both | 50.00 | 1 |  |",
    ]


def test_a_line_that_is_no_measurement_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    good = {"variant": "kl", "response": "soft", "queries": 1, "seed": 0, "accuracy": 0.5, "more": 1}
    file.write_text(json.dumps(good) + "\n{}\n")
    with pytest.raises(InvalidConfig, match=r"rows\.jsonl, line 2,"):
        read([file])
