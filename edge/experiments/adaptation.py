"""What adapting the students of finished runs is worth, by what they are adapted to and by prior strength.

    python -m edge.experiments.adaptation runs/digits-soft-?
    python -m edge.experiments.adaptation runs/digits-soft-? --haze

The first asks what it costs or gains on images like those that the run learnt from, the second what it saves on a
device that sees otherwise.

Asks nobody: fidelity and KL are there where every run's evaluation has paid for the answers to its test images. Each
number is the mean over the runs; of accuracies the standard deviation and every run's are told too.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from edge.adaptation import LARGEST_BATCH, STREAM_BATCH, adapt, predict_adapting
from edge.adapted_student import run_images
from edge.distillation import predict
from edge.evaluation import answers_to, judged, labelled_images
from edge.experiments.tables import header, line, spread
from edge.run_folder import RunFolder
from edge.training import Watcher
from shared import command_line
from shared.datasets import Images

Judged = dict[str, float]

PRIOR_STRENGTHS = (0.0, 16.0, 64.0, 256.0, 1024.0)
STREAM_BATCHES = (16, STREAM_BATCH, 256)


def ablation(
    folder: RunFolder,
    data_root: Path | None = None,
    test_folder: Path | None = None,
    prior_strengths: Sequence[float] = PRIOR_STRENGTHS,
    stream_batches: Sequence[int] = STREAM_BATCHES,
    seen: Callable[[Images], Images] = np.asarray,
) -> dict[str, Judged]:
    """By name of the adaptation, how good one run's student is: `none` first, which is the student as it is.

    Args:
        folder: of a finished run.
        data_root: folder of the datasets that live in files, or of the images that the run learnt from.
        test_folder: own labelled images, as in `evaluate`.
        prior_strengths: to try with every source.
        stream_batches: how many test images are classified together.
        seen: what a device sees of private and test images, where it is another than the one that the run learnt on.

    Raises:
        MekdError: as `evaluate`.
    """
    card, student = folder.load_student()
    test = labelled_images(folder.config().dataset, card, data_root, test_folder, Watcher())
    private, images = seen(run_images(folder, data_root, Watcher())), seen(test.images)
    label_N, answered = torch.from_numpy(test.labels), answers_to(folder, images)
    rows = {"none": judged(predict(student, images), label_N, answered)}
    for strength in prior_strengths:
        adapted = adapt(student, private, strength, LARGEST_BATCH)
        rows[f"{len(private)} private images, p = {strength:g}"] = judged(predict(adapted, images), label_N, answered)
    for batch in stream_batches:
        for strength in prior_strengths:
            logits_NK = predict_adapting(student, images, strength, batch)
            rows[f"test images by {batch}, p = {strength:g}"] = judged(logits_NK, label_N, answered)
    return rows


def hazy(images: Images) -> Images:
    """The same images in haze: brighter, and with 0.4 of their contrast."""
    return (images * 0.4 + 80).astype(np.uint8)


def adaptation(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs, which differ by seed only.")],
    data: Annotated[
        Path | None, typer.Option("--data-root", "--data", help="Folder of the dataset, or of the run's images.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Own labelled images: a folder, a subfolder per class.")] = None,
    haze: Annotated[bool, typer.Option("--haze", help="Try it on a device that sees all images in haze.")] = False,
) -> None:
    """Print a Markdown table, a row per adaptation."""
    seen = hazy if haze else np.asarray
    by_run = [ablation(RunFolder(run), data, test, seen=seen) for run in runs]
    measures = [name for name in ("fidelity", "kl_nats") if all(name in rows["none"] for rows in by_run)]
    lines = header(["adapted to", "accuracy", "change", *measures, *(str(run) for run in runs)])
    for name in by_run[0]:
        same = [rows[name] for rows in by_run]
        accuracies = [100 * row["accuracy"] for row in same]
        changes = [100 * (row["accuracy"] - rows["none"]["accuracy"]) for row, rows in zip(same, by_run, strict=True)]
        near = [f"{statistics.mean(row[measure] for row in same):.4f}" for measure in measures]
        cells = [name, spread(accuracies), spread(changes), *near, *(f"{accuracy:.2f}%" for accuracy in accuracies)]
        lines.append(line(cells))
    print("\n".join(lines))  # noqa: T201 - the product of this command


if __name__ == "__main__":
    command_line.run(lambda: typer.run(adaptation))
