"""Whether the students of a sweep know every class: the least of their recalls, by method.

    python -m edge.experiments.least_recall runs/digits-2000

The recall of a class is the share of its test images that a student takes for it. A mean over all images hides a
class that the generator never made, and that a student therefore has not learnt.
"""

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer

from edge.distillation import predict
from edge.experiments.tables import header, line
from edge.run_folder import RunFolder
from edge.sweep.results import Rows
from shared import command_line, datasets, metrics


def recalls(labels_N: torch.Tensor, predicted_N: torch.Tensor, classes: int) -> list[float]:
    """Of every class, [0, 1]; a class without an image has none."""
    confusion_KK = metrics.confusion(labels_N, predicted_N, classes)
    images_K = confusion_KK.sum(1)
    return [
        right / images
        for right, images in zip(confusion_KK.diag().tolist(), images_K.tolist(), strict=True)
        if images
    ]


def least_recall(
    sweep: Annotated[Path, typer.Argument(help="Folder of a sweep.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder of the datasets that live in files.")] = None,
) -> None:
    """Print a Markdown table: for each response, number of queries and method, the least recall and whose it is."""
    test_of = cache(lambda dataset: datasets.load(dataset, data_root).test)
    found: dict[tuple[str, int, str], list[tuple[float, int]]] = defaultdict(list)
    for name, row in Rows(sweep).read().items():
        if row["status"] == "ok":
            test = test_of(row["dataset"])
            card, student = RunFolder(sweep / name).load_student()
            predicted_N = predict(student, test.images).argmax(1)
            least = min(recalls(torch.from_numpy(test.labels), predicted_N, card.classes))
            found[row["response"], row["budget"], row["method"]].append((100 * least, row["seed"]))
    lines = header(["response, queries", "method", "students", "least recall of a class", "at seed"])
    for (response, budget, method), students in sorted(found.items()):
        least, seed = min(students)
        lines.append(line([f"{response}, {budget:,}", method, str(len(students)), f"{least:.2f}", str(seed)]))
    print("\n".join(lines))  # noqa: T201 - the product of this command


if __name__ == "__main__":
    command_line.run(lambda: typer.run(least_recall))
