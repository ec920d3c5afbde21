"""Measurements of several variants at the same seeds: means, and differences paired by seed with their intervals.

    python -m edge.experiments.paired edge/experiments/results/mnist.jsonl --against kl

A row of the file is one student: `variant`, `response`, `queries`, `seed` and `accuracy`, a share of the test images.
Two students are a pair where all but the variant is equal: they learnt from the same answers. The interval is
Student's for the mean difference, 95 %, in percentage points; one that excludes 0 is marked with a star.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from scipy.stats import t as student_t

from shared import command_line
from shared.errors import InvalidConfig

HEADER = "| response, queries | variant | accuracy | n | against {} |"
CONFIDENCE = 0.95


class Difference(NamedTuple):
    """Mean of paired differences and the half-width of its interval; of a single pair there is no interval."""

    mean: float
    half_width: float | None

    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.half_width is not None and abs(self.mean) > self.half_width

    def __str__(self) -> str:
        if self.half_width is None:
            return f"{self.mean:+.2f}"
        star = " *" if self.excludes_zero() else ""
        return f"{self.mean:+.2f} [{self.mean - self.half_width:+.2f}, {self.mean + self.half_width:+.2f}]{star}"


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Of `ours` and `theirs`, values by seed, at the seeds that both have; None where there is none."""
    pairs = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    if not pairs:
        return None
    if len(pairs) == 1:
        return Difference(pairs[0], None)
    quantile = float(student_t.ppf((1 + CONFIDENCE) / 2, len(pairs) - 1))
    return Difference(statistics.mean(pairs), quantile * statistics.stdev(pairs) / len(pairs) ** 0.5)


def paired(
    files: Annotated[list[Path], typer.Argument(help="JSON lines, a student each.")],
    against: Annotated[str, typer.Option(help="Variant to compare the others with.")] = "kl",
) -> None:
    """Print a Markdown table: a row per response, number of queries and variant."""
    print("\n".join(table(read(files), against)))  # noqa: T201 - the product of this command


def table(rows: Sequence[Mapping[str, Any]], against: str) -> list[str]:
    """Lines of the table."""
    by_cell: dict[tuple[str, int], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by_cell[row["response"], row["queries"]][row["variant"]][row["seed"]] = 100 * row["accuracy"]
    header = HEADER.format(against)
    lines = [header, "|---" * (header.count("|") - 1) + "|"]
    for (response, queries), variants in sorted(by_cell.items()):
        for variant, by_seed in variants.items():
            compared = difference(by_seed, variants.get(against, {})) if variant != against else None
            spread = f" ± {statistics.stdev(by_seed.values()):.2f}" if len(by_seed) > 1 else ""
            accuracy = f"{statistics.mean(by_seed.values()):.2f}{spread}"
            lines.append(f"| {response}, {queries:,} | {variant} | {accuracy} | {len(by_seed)} | {compared or ''} |")
    return lines


def read(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of all files.

    Raises:
        InvalidConfig: names the file and the line that is no measurement.
    """
    rows = []
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            try:
                row = json.loads(line)
                rows.append({name: row[name] for name in ("variant", "response", "queries", "seed", "accuracy")})
            except (ValueError, KeyError, TypeError) as error:
                raise InvalidConfig(f"{file}, line {number}, is no measurement of a student: {error!r}.") from None
    return rows


if __name__ == "__main__":
    command_line.run(lambda: typer.run(paired))
