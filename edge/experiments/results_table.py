"""Runs of the same config at several seeds as one row of a Markdown table: mean, standard deviation, n.

python -m edge.experiments.results_table runs/digits-soft-* runs/digits-top1-*
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edge.run_folder import RunFolder
from shared import command_line
from shared.errors import InvalidConfig

HEADER = (
    "| data, response | queries | teacher | student | student - teacher | fidelity | bytes up + down | seconds | n |"
)


def results_table(runs: Annotated[list[Path], typer.Argument(help="Folders of evaluated runs.")]) -> None:
    """Print a row per dataset, response and budget."""
    rows: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for run in runs:
        if run.suffix == ".cloud":  # what the demo keeps beside a run
            continue
        config, results = RunFolder(run).config(), RunFolder(run).results()
        if "fidelity" not in results.get("evaluation", {}):
            raise InvalidConfig(
                f"{run} was not compared with its teacher. Run 'mekd-edge evaluate' with --server first."
            )
        rows[config.dataset, config.response, config.budget].append(results)
    print(HEADER, "|---" * HEADER.count(" |") + "|", sep="\n")  # noqa: T201 - the product of this command
    for (dataset, response, budget), same in rows.items():
        print(f"| {dataset}, {response} | {budget:,} | {' | '.join(_cells(same))} | {len(same)} |")  # noqa: T201


def _cells(results: Sequence[dict[str, Any]]) -> list[str]:
    measured = [result["evaluation"] for result in results]
    stages = [result["stages"].values() for result in results]
    return [
        _percent([m["teacher_accuracy"] for m in measured]),
        _percent([m["student_accuracy"] for m in measured]),
        _percent([m["student_accuracy"] - m["teacher_accuracy"] for m in measured]),
        _percent([m["fidelity"] for m in measured]),
        f"{statistics.mean(sum(s['bytes_up'] + s['bytes_down'] for s in stage) for stage in stages):,.0f}",
        f"{statistics.mean(sum(s['seconds'] for s in stage) for stage in stages):.0f}",
    ]


def _percent(shares: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(shares) * 100:.2f}" if len(shares) > 1 else ""
    return f"{statistics.mean(shares) * 100:.2f}{spread}"


if __name__ == "__main__":
    command_line.run(lambda: typer.run(results_table))
