"""Tables in Markdown, and their places on a page.

A table stands between two comments, the first of which names it: `<!-- table of mnist -->` and `<!-- end -->`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from edge.leaderboard.curves import mean
from shared.errors import InvalidConfig

ROOT = Path(__file__).parent.parent.parent
"""The repository."""


def header(columns: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [line(columns), "|---" * len(columns) + "|"]


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, as a cell says them; `-` of no values."""
    found = mean(values)
    if found is None:
        return "-"
    return f"{found.mean:.2f}" + (f" ± {found.std:.2f}" if found.std is not None else "")


def with_table(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with these lines where its table of `name` was.

    Raises:
        InvalidConfig: it has no place for one.
    """
    place = re.compile(rf"(<!-- table of {re.escape(name)} -->\n)(?:(?!<!--).)*(<!-- end -->)", re.DOTALL)
    if not place.search(page):
        raise InvalidConfig(
            f"The page has no table of {name}. Add '<!-- table of {name} -->' and, on a line below, '<!-- end -->' "
            "where it is to stand."
        )
    return place.sub(lambda found: "\n".join([found[1], *lines, "", found[2]]), page)
