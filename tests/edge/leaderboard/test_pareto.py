from hypothesis import given
from hypothesis import strategies as st

from edge.leaderboard.pareto import EXPOSURE, Point, envelope, front
from edge.sends import Sends

# Few values, so that ties and equal points are common.
POINTS = st.lists(
    st.builds(
        Point,
        method=st.sampled_from("abc"),
        budget=st.just(1),
        queries=st.integers(1, 5).map(float),
        accuracy=st.integers(0, 5).map(lambda tenths: tenths / 10),
        sends=st.sampled_from(Sends),
    ),
    max_size=15,
)


def beats(one: Point, other: Point) -> bool:
    """The definition, spelt out."""
    at_least = (
        one.accuracy >= other.accuracy,
        one.queries <= other.queries,
        EXPOSURE[one.sends] <= EXPOSURE[other.sends],
    )
    better = (
        one.accuracy > other.accuracy,
        one.queries < other.queries,
        EXPOSURE[one.sends] < EXPOSURE[other.sends],
    )
    return all(at_least) and any(better)


@given(POINTS)
def test_no_member_is_beaten_and_every_other_point_is_beaten_by_a_member(points: list[Point]) -> None:
    members = front(points)
    assert not any(beats(point, member) for point in points for member in members)
    assert all(any(beats(member, point) for member in members) for point in points if point not in members)
    assert bool(members) == bool(points) and set(members) <= set(points)


@given(POINTS)
def test_the_staircase_holds_the_best_accuracy_for_so_many_queries(points: list[Point]) -> None:
    for exposure in (0, 1, 2):
        allowed = [point for point in points if EXPOSURE[point.sends] <= exposure]
        steps = envelope(points, exposure)
        for point in allowed:
            so_far = max(accuracy for queries, accuracy in steps if queries <= point.queries)
            assert so_far == max(other.accuracy for other in allowed if other.queries <= point.queries)


def test_noise_and_synthetic_images_expose_the_same_and_private_ones_the_most() -> None:
    assert EXPOSURE[Sends.NOISE] == EXPOSURE[Sends.SYNTHETIC] < EXPOSURE[Sends.MIXED] < EXPOSURE[Sends.REAL]


def test_a_worse_student_stays_on_the_front_if_it_sent_nothing_private() -> None:
    private, own = Point("kd", 100, 100.0, 0.9, Sends.REAL), Point("lq", 100, 100.0, 0.8, Sends.SYNTHETIC)
    beaten = Point("pool", 100, 100.0, 0.7, Sends.NOISE)
    assert front([private, beaten, own]) == [own, private]
