"""Differences of two methods, paired by seed, with Student's 95 % interval."""

import statistics
from collections.abc import Mapping
from typing import NamedTuple

from scipy.special import stdtrit  # Student's quantile: scipy.stats, which wraps it, takes a second to import

CONFIDENCE = 0.95
DECIMALS = 9


class Difference(NamedTuple):
    """Mean of paired differences and the half-width of its interval; of a single pair there is no interval."""

    mean: float
    half_width: float | None
    pairs: int

    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0. One without width says that the test set is small, no more."""
        return bool(self.half_width) and abs(self.mean) > (self.half_width or 0.0)

    def __str__(self) -> str:
        if self.half_width is None:
            return f"{self.mean:+.2f}"
        star = " *" if self.excludes_zero() else ""
        return f"{self.mean:+.2f} [{self.mean - self.half_width:+.2f}, {self.mean + self.half_width:+.2f}]{star}"


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Of `ours` and `theirs`, values by seed, at the seeds that both have; None where there is none."""
    # Rounded, or equal differences of floats would have an interval of some 1e-14.
    pairs = [round(ours[seed] - theirs[seed], DECIMALS) for seed in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        return None
    if len(pairs) == 1:
        return Difference(pairs[0], None, 1)
    quantile = float(stdtrit(len(pairs) - 1, (1 + CONFIDENCE) / 2))
    half_width = quantile * statistics.stdev(pairs) / len(pairs) ** 0.5
    return Difference(statistics.mean(pairs), half_width, len(pairs))
