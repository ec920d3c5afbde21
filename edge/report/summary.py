"""A run in two tables for the terminal."""

from typing import Any

from rich.table import Table


def stage_table(results: dict[str, Any]) -> Table:
    """Queries, bytes and seconds by stage; `server` is what the server's own meter counted."""
    table = Table("stage", title="What the run took")
    for column in ("queries", "by server", "bytes up", "bytes down", "seconds"):
        table.add_column(column, justify="right")
    fields = ("queries", "queries_by_server", "bytes_up", "bytes_down", "seconds")
    for name, stage in results["stages"].items():
        table.add_row(name, *(_number(stage[field]) for field in fields))
    totals = [[stage[field] for stage in results["stages"].values()] for field in fields]
    table.add_section()
    table.add_row("all", *(_number(None if None in column else sum(column)) for column in totals))
    if server := results["server"]:
        table.caption = f"Key '{server['client']}' spent {server['spent']:,} of its budget of {server['budget']:,}."
    return table


def evaluation_table(measured: dict[str, Any]) -> Table:
    """How good the student is."""
    table = Table("measure", title=f"On {measured['test_images']:,} test images")
    table.add_column("value", justify="right")
    for field, name in (
        ("teacher_accuracy", "teacher accuracy"),
        ("student_accuracy", "student accuracy"),
        ("fidelity", "fidelity (same class as the teacher)"),
    ):
        if field in measured:
            table.add_row(name, f"{measured[field]:.2%}")
    if "kl_nats" in measured:
        table.add_row("KL(teacher || student), nats", f"{measured['kl_nats']:.4f}")
    if "queries" in measured:
        table.add_row("queries for this comparison", _number(measured["queries"]))
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,}"
