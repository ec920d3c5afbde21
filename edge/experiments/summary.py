"""The README's table and picture of the results, from the rows in the repository.

    python -m edge.experiments.summary

Shown are the method for few queries, what it is measured against, and what private images that are sent would teach.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from edge.experiments.paired import check_comparable
from edge.experiments.tables import ROOT, header, line, spread, with_table
from edge.leaderboard.curves import mean
from edge.leaderboard.rows import Row, read_rows
from edge.report.charts import COLOURS, INK, STYLE
from shared import command_line
from shared.errors import InvalidConfig
from shared.whole_files import write_atomically

METHODS = (
    ("lq", "o", "lq: MEKD for few queries"),
    ("pool", "s", "pool: the answers alone"),
    ("kd", "^", "kd: private images are sent"),
)
"""Name, marker and what the picture calls it."""
RESPONSES = {"soft": "soft", "top1": "top-1"}


class Entry(NamedTuple):
    """A line of the table: what it is called, from which results, at which budget."""

    label: str
    results: str
    budget: int


ENTRIES = (
    Entry("digits, 1,000 updates", "digits-fresh", 250),
    Entry("digits, 2,000 updates", "digits-2000", 2000),
    Entry("MNIST", "mnist", 1000),
    Entry("MNIST", "mnist", 10_000),
    Entry("MNIST, longer training", "mnist-100000", 100_000),
    Entry("MNIST, teacher of drawn digits", "drawn-to-mnist", 1000),
    Entry("CIFAR-10, teacher VGG-13", "cifar10", 1000),
    Entry("CIFAR-10, teacher VGG-13", "cifar10", 5000),
    Entry("CIFAR-10, teacher VGG-13", "cifar10", 10_000),
    Entry("CIFAR-10, teacher VGG-13", "cifar10", 50_000),
    Entry("CIFAR-10, teacher ResNet-56", "cifar10-resnet56", 5000),
    Entry("CIFAR-10, teacher ResNet-56", "cifar10-resnet56", 10_000),
    Entry("CIFAR-10, teacher ResNet-56", "cifar10-resnet56", 50_000),
)


class Panel(NamedTuple):
    """A diagram of the picture: what it is called, from which results, for which responses."""

    title: str
    results: str
    response: str


PANELS = (
    Panel("digits, 600 updates, soft answers", "digits", "soft"),
    Panel("digits, 600 updates, top-1", "digits", "top1"),
    Panel("MNIST, soft answers", "mnist", "soft"),
    Panel("MNIST, top-1", "mnist", "top1"),
    Panel("CIFAR-10, VGG-13, soft answers", "cifar10", "soft"),
)


def summarise(root: Annotated[Path, typer.Option(help="The repository.")] = ROOT) -> None:
    """Write the table and the picture anew."""
    experiments, readme = root / "edge" / "experiments", root / "README.md"
    lines = summary_table(experiments / "results")
    write_atomically(readme, with_table(readme.read_text(), "summary", lines).encode())
    write_atomically(experiments / "summary.svg", picture(experiments / "results"))


def summary_table(results: Path) -> list[str]:
    """Lines of the table in Markdown: accuracy in per cent by response and method, `-` where there is none."""
    columns = [(response, method) for response in RESPONSES for method, _, _ in METHODS]
    lines = header(
        ["images", "teacher", "queries", *(f"{RESPONSES[response]}, {name}" for response, name in columns)]
    )
    for entry in ENTRIES:
        rows = rows_in(results, entry.results)
        cells = [spread(accuracies(rows, method, response, entry.budget)) for response, method in columns]
        lines.append(line([entry.label, f"{teacher(rows):.2f}", f"{entry.budget:,}", *cells]))
    return lines


def rows_in(results: Path, name: str) -> list[Row]:
    """The rows of a grid.

    Raises:
        InvalidConfig: they do not belong in one table.
    """
    rows = read_rows([results / f"{name}.jsonl"])
    check_comparable(rows)
    return rows


def accuracies(rows: Sequence[Row], method: str, response: str, budget: int) -> list[float]:
    """In per cent, of all seeds whose student was made."""
    cell = (method, response, budget)
    found = [row.accuracy for row in rows if (row.method, row.response, row.budget) == cell]
    return [100 * accuracy for accuracy in found if accuracy is not None]


def teacher(rows: Sequence[Row]) -> float:
    """The teacher's accuracy in per cent, which all rows of a grid have in common.

    Raises:
        InvalidConfig: they do not, or none tells it.
    """
    found = {row.teacher_accuracy for row in rows if row.teacher_accuracy is not None}
    if len(found) != 1:
        raise InvalidConfig(f"Rows of one grid have to have one accuracy of the teacher; these have {sorted(found)}.")
    return 100 * found.pop()


def picture(results: Path) -> bytes:
    """Accuracy against queries, mean and standard deviation over the seeds, as SVG on white."""
    with style.context(["default", STYLE]):  # whatever the user has in a matplotlibrc
        figure = Figure(figsize=(9.6, 5.4), layout="constrained", facecolor="white")
        *places, corner = figure.subplots(2, 3).flat
        for axes, panel in zip(places, PANELS, strict=True):
            draw(axes, panel, rows_in(results, panel.results))
        corner.axis("off")
        corner.legend(*places[0].get_legend_handles_labels(), loc="center", fontsize=10)
        drawing = io.BytesIO()
        figure.savefig(drawing, format="svg", metadata=dict.fromkeys(("Creator", "Date")))
        return drawing.getvalue()


def draw(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    """A panel of the picture; the teacher is a dashed line."""
    budgets = sorted({row.budget for row in rows})
    for (method, marker, label), colour in zip(METHODS, COLOURS, strict=False):
        at = {budget: mean(accuracies(rows, method, panel.response, budget)) for budget in budgets}
        if points := [(budget, found.mean, found.std or 0.0) for budget, found in at.items() if found]:
            queries, means, deviations = zip(*points, strict=True)
            axes.errorbar(
                queries, means, deviations, label=label, color=colour, marker=marker, markersize=5, capsize=3
            )
    axes.axhline(teacher(rows), linestyle=(0, (5, 3)), color=INK, linewidth=1, label="teacher")
    axes.set_title(panel.title, fontsize=10)
    axes.set_xscale("log")
    axes.set_xticks(budgets, [f"{budget:,}" for budget in budgets], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.set_xlabel("queries")
    axes.grid()


if __name__ == "__main__":
    command_line.run(lambda: typer.run(summarise))
