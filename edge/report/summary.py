"""A run as one table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table


def run_table(results: Mapping[str, Any], also: Mapping[str, int] | None = None) -> Table:
    """How good the student is and what it took; `also` adds counts that the edge cannot know."""
    config = results["config"]
    table = Table("", title=f"{config['dataset']}, {config['response']} responses, seed {config['seed']}")
    table.add_column("value", justify="right")
    if "prediction" in results:
        table.add_column("predicted", justify="right")
    if "evaluation" in results:
        _add_evaluation(table, results["evaluation"])
    for name, count in (also or {}).items():
        table.add_row(name, f"{count:,}")
    table.add_row(f"parameters of the student, {config['student']}", f"{results['student']['parameters']:,}")
    table.add_section()
    for stage, took in results["stages"].items():
        table.add_row(f"queries, {stage}", _queries(took), *_predicted(results, "queries", ",", stage))
    if replayed := results.get("replayed_from"):
        table.add_row("all paid before; replayed from", escape(replayed["name"]))
    elif imported := results.get("imported"):
        table.add_row("pairs imported, paid for by other runs", f"{imported:,}")
    if server := results["server"]:
        table.add_row("queries in all, as the server counted", f"{server['spent']:,} of {server['budget']:,}")
    table.add_section()
    for direction in ("up", "down"):
        sizes = [stage[f"bytes_{direction}"] for stage in results["stages"].values()]
        table.add_row(f"bytes {direction}", f"{sum(sizes):,}", *_predicted(results, f"bytes_{direction}", ","))
    if link := results.get("link"):
        seconds = sum(stage["link_seconds"] for stage in results["stages"].values())
        table.add_row(_on_the_link(link), f"{seconds:,.1f}", *_predicted(results, "link_seconds", ",.1f"))
        table.add_row("the same, metadata and usage", f"{results['bookkeeping']['link_seconds']:,.1f}")
    for stage, took in results["stages"].items():
        table.add_row(f"seconds, {stage}", f"{took['seconds']:.1f}", *_predicted(results, "seconds", ".1f", stage))
    return table


def evaluation_table(measured: Mapping[str, Any]) -> Table:
    """How good the student is."""
    table = Table("", title="Evaluation")
    table.add_column("value", justify="right")
    _add_evaluation(table, measured)
    return table


def adapted_to(adapted: Mapping[str, Any]) -> str:
    """What an evaluation's student was adapted to, in words."""
    if batch := adapted.get("batch"):
        return f"adapted to the test images, {batch:,} at a time"
    return f"adapted to {adapted['images']:,} {'new' if adapted['source'] == 'folder' else 'private'} images"


def _add_evaluation(table: Table, measured: Mapping[str, Any]) -> None:
    if "teacher_accuracy" in measured:
        table.add_row("teacher accuracy", f"{measured['teacher_accuracy']:.2%}")
    table.add_row("student accuracy", f"{measured['student_accuracy']:.2%}")
    if "fidelity" in measured:
        table.add_row("fidelity: same class as the teacher", f"{measured['fidelity']:.2%}")
    if "kl_nats" in measured:
        table.add_row("KL(teacher || student), nats", f"{measured['kl_nats']:.4f}")
    if adapted := measured.get("adapted"):
        table.add_row(f"student accuracy, {adapted_to(adapted)}", f"{adapted['accuracy']:.2%}")
        if "fidelity" in adapted:
            table.add_row("fidelity, adapted", f"{adapted['fidelity']:.2%}")
        if "kl_nats" in adapted:
            table.add_row("KL(teacher || student), nats, adapted", f"{adapted['kl_nats']:.4f}")
    if link := measured.get("link"):
        table.add_row(f"{_on_the_link(link)}, evaluation", f"{measured['link_seconds']:,.1f}")
    table.add_row("test images", f"{measured['test_images']:,}")


def _predicted(results: Mapping[str, Any], name: str, form: str, stage: str | None = None) -> list[str]:
    """The cell of what was predicted for a stage or for both; no cell where the table has no such column."""
    if "prediction" not in results:
        return []
    prediction = results["prediction"]
    number = (prediction["stages"][stage] if stage else prediction["total"])[name]
    return ["" if number is None else format(number, form)]


def _on_the_link(link: Mapping[str, Any]) -> str:
    return f"seconds on the link {escape(link['name'])}"


def _queries(stage: Mapping[str, Any]) -> str:
    """The server's count where there is a meter, else the journal's; both where they differ."""
    paid, metered = stage["queries"], stage["queries_by_server"]
    if metered is None or metered == paid:
        return f"{paid:,}"
    return f"{metered:,} (by the edge's journal {paid:,})"
