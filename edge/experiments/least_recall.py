"""Whether the students of a sweep know every class: the least of their recalls, by method.

    python -m edge.experiments.least_recall runs/digits-2000

The recall of a class is the share of its test images that a student takes for it. A mean over all images hides a
class that the generator never made, and that a student therefore has not learnt.
"""

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from edge.experiments.tables import header, line
from edge.run_folder import RunFolder
from edge.sweep.results import Rows
from shared import command_line


def recalls(folder: RunFolder) -> list[float]:
    """Of every class, [0, 1], as the run's evaluation counted them; a class without a test image has none."""
    confusion_KK = np.array(folder.results()["evaluation"]["confusion"])  # row = label, column = student's class
    images_K = confusion_KK.sum(1)
    recall_K: list[float] = (confusion_KK.diagonal()[images_K > 0] / images_K[images_K > 0]).tolist()
    return recall_K


def least_recall(sweep: Annotated[Path, typer.Argument(help="Folder of a sweep.")]) -> None:
    """Print a Markdown table: for each response, number of queries and method, the least recall and whose it is."""
    found: dict[tuple[str, int, str], list[tuple[float, int]]] = defaultdict(list)
    for name, row in Rows(sweep).read().items():
        if row["status"] == "ok":
            cell = row["response"], row["budget"], row["method"]
            found[cell].append((100 * min(recalls(RunFolder(sweep / name))), row["seed"]))
    lines = header(["response, queries", "method", "students", "least recall of a class", "at seed"])
    for (response, budget, method), students in sorted(found.items()):
        least, seed = min(students)
        lines.append(line([f"{response}, {budget:,}", method, str(len(students)), f"{least:.2f}", str(seed)]))
    print("\n".join(lines))  # noqa: T201 - the product of this command


if __name__ == "__main__":
    command_line.run(lambda: typer.run(least_recall))
