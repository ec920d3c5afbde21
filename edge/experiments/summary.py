"""The README's table and picture of the results, from the rows in the repository.

    python -m edge.experiments.summary

Shown are the method for few queries, what it is measured against, and what private images that are sent would teach.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullLocator, PercentFormatter

from edge.experiments.paired import spread
from edge.experiments.publish import ROOT, with_table
from edge.leaderboard.curves import mean
from edge.leaderboard.rows import Row, read_rows
from edge.report.charts import COLOURS, INK, STYLE
from shared import command_line
from shared.checkpoints import write_atomically

METHODS = {"lq": "lq: MEKD for few queries", "pool": "pool: the answers alone", "kd": "kd: private images are sent"}
MARKERS = ("o", "s", "^")
RESPONSES = {"soft": "soft", "top1": "top-1"}


class Line(NamedTuple):
    """A line of the table: what it is called, from which results, at which budget."""

    label: str
    results: str
    budget: int


LINES = (
    Line("digits", "digits-fresh", 250),
    Line("digits", "digits-2000", 2000),
    Line("MNIST", "mnist", 1000),
    Line("MNIST", "mnist", 10_000),
    Line("MNIST, longer training", "mnist-100000", 100_000),
    Line("MNIST, teacher of drawn digits", "drawn-to-mnist", 1000),
    Line("CIFAR-10", "cifar10", 5000),
    Line("CIFAR-10", "cifar10", 10_000),
    Line("CIFAR-10", "cifar10", 50_000),
)


class Panel(NamedTuple):
    """A diagram of the picture: what it is called, from which results, for which responses."""

    title: str
    results: str
    response: str


PANELS = (
    Panel("digits, soft answers", "digits", "soft"),
    Panel("digits, top-1", "digits", "top1"),
    Panel("MNIST, soft answers", "mnist", "soft"),
    Panel("MNIST, top-1", "mnist", "top1"),
    Panel("CIFAR-10, soft answers", "cifar10", "soft"),
)
COLUMNS = 3


def summarise(root: Annotated[Path, typer.Option(help="The repository.")] = ROOT) -> None:
    """Write the table and the picture anew."""
    results, readme = root / "edge" / "experiments" / "results", root / "README.md"
    write_atomically(readme, with_table(readme.read_text(), "summary", summary(results)).encode())
    write_atomically(results.parent / "summary.svg", picture(results))


def summary(results: Path) -> list[str]:
    """Lines of the table in Markdown: accuracy in per cent by response and method, `-` where there is none."""
    columns = [(response, method) for response in RESPONSES for method in METHODS]
    titles = [f"{RESPONSES[response]}, {method}" for response, method in columns]
    header = ["test images", "teacher", "queries", *titles]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for line in LINES:
        rows = at_budget(read_rows([results / f"{line.results}.jsonl"]), line.budget)
        cells = [spread(accuracies(rows, method, response)) for response, method in columns]
        lines.append(f"| {' | '.join([line.label, spread(teacher(rows)), f'{line.budget:,}', *cells])} |")
    return lines


def at_budget(rows: Sequence[Row], budget: int) -> list[Row]:
    """Those with so many queries."""
    return [row for row in rows if row.budget == budget]


def accuracies(rows: Sequence[Row], method: str, response: str) -> list[float]:
    """In per cent, of all seeds whose student was made."""
    wanted = [row.accuracy for row in rows if (row.method, row.response) == (method, response)]
    return [100 * accuracy for accuracy in wanted if accuracy is not None]


def teacher(rows: Sequence[Row]) -> list[float]:
    """The teacher's accuracy in per cent; several where it was measured in more than one precision."""
    return sorted({100 * row.teacher_accuracy for row in rows if row.teacher_accuracy is not None})


def picture(results: Path) -> bytes:
    """Accuracy against queries, mean and standard deviation over the seeds, as SVG on white."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained", facecolor="white")
        places: list[Any] = list(figure.subplots(-(-len(PANELS) // COLUMNS), COLUMNS).flat)
        for axes, panel in zip(places, PANELS, strict=False):
            draw(axes, panel, read_rows([results / f"{panel.results}.jsonl"]))
        for axes in places[len(PANELS) :]:
            axes.axis("off")
            axes.legend(*places[0].get_legend_handles_labels(), loc="center", fontsize=10)
        drawing = io.BytesIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
        return drawing.getvalue()


def draw(axes: Axes, panel: Panel, rows: Sequence[Row]) -> None:
    """A panel of the picture; the teacher is a dashed line."""
    budgets = sorted({row.budget for row in rows})
    for (method, label), colour, marker in zip(METHODS.items(), COLOURS, MARKERS, strict=False):
        at = {budget: mean(accuracies(at_budget(rows, budget), method, panel.response)) for budget in budgets}
        points = [(budget, found.mean, found.std or 0.0) for budget, found in at.items() if found]
        if points:
            queries, means, deviations = zip(*points, strict=True)
            axes.errorbar(
                queries,
                means,
                deviations,
                label=label,
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.6,
                capsize=3,
            )
    for height in teacher(rows):
        axes.axhline(height, linestyle=(0, (5, 3)), color=INK, linewidth=1, label="teacher")
    axes.set_title(panel.title, fontsize=10)
    axes.set_xscale("log")
    axes.set_xticks(budgets, [EngFormatter(sep="")(budget) for budget in budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter())
    axes.set_xlabel("queries")
    axes.grid()


if __name__ == "__main__":
    command_line.run(lambda: typer.run(summarise))
