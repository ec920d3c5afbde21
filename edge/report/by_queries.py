"""What was seen by which query: spending over time, how the teacher's classes fill up, and runs side by side.

Shapes: N answers in the order of asking, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from edge.distillation import STAGE as STEP_2
from edge.distillation import kept_agreement
from edge.report import charts
from edge.run_folder import RunFolder
from edge.transfer_set.journal import Payment


def spending(payments: Sequence[Payment]) -> Markup:
    """Queries paid over time, a line per stage."""
    start = min(payment.asked for payment in payments)
    series: dict[str, list[tuple[float, float]]] = {}
    paid = 0
    for payment in payments:
        line = series.setdefault(payment.stage, [(payment.asked - start, paid)])
        paid += payment.queries
        line.append((payment.answered - start, paid))
    return charts.lines(
        series,
        "seconds since the first question",
        "queries paid",
        f"Queries paid over time by stage, {paid} in the end.",
        steps=True,
    )


def balance(label_N: NDArray[np.int64], classes: int) -> tuple[Markup, int | None]:
    """Shares of the rarest and the commonest class by queries; and by which query every class was seen, if so."""
    counts_NK = np.cumsum(label_N[:, None] == np.arange(classes), axis=0)
    seen = np.flatnonzero((counts_NK > 0).all(1))
    queries = np.unique(np.linspace(1, len(label_N), min(len(label_N), charts.SMOOTHED_POINTS)).round().astype(int))
    share_MK = counts_NK[queries - 1] / queries[:, None]
    series = {
        "commonest class": list(zip(queries, share_MK.max(1), strict=True)),
        "rarest class": list(zip(queries, share_MK.min(1), strict=True)),
        "evenly": [(1, 1 / classes), (len(label_N), 1 / classes)],
    }
    alt = (
        f"Shares of the teacher's classes by queries: in the end the rarest has {share_MK[-1].min():.1%}, "
        f"the commonest {share_MK[-1].max():.1%}."
    )
    picture = charts.lines(series, "query", "share of the answers", alt, shares=True)
    return picture, int(seen[0]) + 1 if len(seen) else None


def compared(folders: Sequence[RunFolder]) -> tuple[list[dict[str, Any]], Markup]:
    """A row per run, from the fewest queries to the most, and their quality by queries.

    Raises:
        RunMismatch: one of them is not finished.
    """
    rows = []
    for folder in folders:
        results = folder.results()
        curves, steps = folder.curves().get(STEP_2, {}), folder.config().distillation.steps
        rows.append(
            {
                "run": str(folder.path),
                "queries": sum(stage["queries"] for stage in results["stages"].values()),
                "student": results["config"]["student"],
                "seed": results["config"]["seed"],
                "held-out agreement": kept_agreement(curves, steps),
                "test accuracy": results.get("evaluation", {}).get("student_accuracy"),
            }
        )
    rows.sort(key=lambda row: row["queries"])
    series = {
        name: points
        for name in ("held-out agreement", "test accuracy")
        if (points := [(row["queries"], row[name]) for row in rows if row[name] is not None])
    }
    return rows, charts.lines(
        series, "queries", "share of the images", "Quality of the compared runs by queries.", shares=True, dots=True
    )
