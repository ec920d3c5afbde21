"""The students of a sweep on the cloud's labelled images: what a recipe may be chosen by, when test images may not.

    python -m edge.experiments.on_cloud_images runs/digits-fresh --out cloud.jsonl
    python -m edge.experiments.paired cloud.jsonl

The teacher has learnt from these images, the students have not; no device has them.
"""

import json
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer

from edge.distillation import predict
from edge.run_folder import RunFolder
from edge.sweep.results import Rows
from shared import command_line, datasets, metrics
from shared.whole_files import write_atomically

OF_TEST_IMAGES = ("accuracy", "teacher_accuracy", "fidelity", "kl_nats", "calibration_error")


def on_cloud_images(
    sweep: Annotated[Path, typer.Argument(help="Folder of a sweep.")],
    out: Annotated[Path, typer.Option(help="File for the rows, .jsonl.")],
    data_root: Annotated[Path | None, typer.Option(help="Folder of the datasets that live in files.")] = None,
) -> None:
    """Write the sweep's rows with each student's accuracy on the cloud's images in the place of the test images'."""
    cloud_of = cache(lambda dataset: datasets.load(dataset, data_root).cloud)
    lines = []
    for name, row in Rows(sweep).read().items():
        if row["status"] == "ok":
            cloud = cloud_of(row["dataset"])
            _, student = RunFolder(sweep / name).load_student()
            accuracy = metrics.accuracy(predict(student, cloud.images), torch.from_numpy(cloud.labels))
            measured = dict.fromkeys(OF_TEST_IMAGES) | {"accuracy": accuracy, "test_images": len(cloud.images)}
            lines.append(json.dumps(row | measured) + "\n")
    write_atomically(out, "".join(lines).encode())


if __name__ == "__main__":
    command_line.run(lambda: typer.run(on_cloud_images))
