import math

import pytest

from edge.leaderboard.curves import Area, Mean, area, mean, usual


def test_the_area_is_that_of_the_trapezia_over_the_logarithm_divided_by_its_width() -> None:
    # log10 places 1, 2, 4: (0.5 + 0.7) / 2 * 1 + (0.7 + 0.9) / 2 * 2 = 0.6 + 1.6 = 2.2, over a width of 3.
    found = area([(10, 0.5), (100, 0.7), (10_000, 0.9)])
    assert found == pytest.approx(Area(2.2 / 3, 10, 10_000, 3))


def test_the_area_does_not_depend_on_the_order_and_of_a_constant_is_the_constant() -> None:
    points = [(4000, 0.9), (10, 0.2), (250, 0.4)]
    assert area(points) == area(sorted(points))
    found = area([(3, 0.7), (50, 0.7), (900, 0.7)])
    assert found is not None and found.value == pytest.approx(0.7)


@pytest.mark.parametrize("points", [[], [(100, 0.5)], [(100, 0.5), (100, 0.6)], [(0, 0.1), (100, 0.5)]])
def test_without_two_numbers_of_queries_there_is_no_area(points: list[tuple[float, float]]) -> None:
    assert area(points) is None


def test_areas_compare_over_nearly_the_same_range_at_as_many_budgets_only() -> None:
    whole = Area(0.5, 100, 4000, 5)
    assert whole.comparable(Area(0.9, 98, 3990, 5))
    assert not whole.comparable(Area(0.9, 100, 2000, 5))
    assert not whole.comparable(Area(0.9, 250, 4000, 5))
    assert not whole.comparable(Area(0.9, 100, 4000, 4))


def test_the_usual_range_is_the_commonest_and_among_equals_the_one_with_most_budgets() -> None:
    short, long = Area(0.9, 100, 1000, 3), Area(0.5, 100, 4000, 5)
    assert usual([short, short, long]) == short
    assert usual([short, long]) == long
    assert usual([]) is None


def test_means_leave_out_what_is_unknown() -> None:
    assert mean([0.5, None, 0.7]) == pytest.approx(Mean(0.6, math.sqrt(0.02), 2))
    assert mean([0.5]) == Mean(0.5, None, 1)
    assert mean([None]) is None
