"""report.html: one file with everything in it, for a browser without a network."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from edge.answers import labels
from edge.deprivatization import STAGE as STEP_1
from edge.distillation import STAGE as STEP_2
from edge.journal import Journal, TransferSet
from edge.local_images import some_images
from edge.report import figures
from edge.run_folder import RunFolder
from shared.checkpoints import write_atomically

SHOWN = 48


def write_report(folder: RunFolder, data_root: Path | None, others: Sequence[RunFolder] = ()) -> Path:
    """Write the report of a finished run and return its path.

    A run that learnt from a folder shows images of it only where `data_root` names that folder.

    Raises:
        MekdError: the run is not finished, or its files cannot be read.
    """
    results, curves = folder.results(), folder.curves()
    with Journal(folder.journal) as journal:
        pairs = journal.transfer_set()
    evaluation = results.get("evaluation", {})
    real = some_images(folder.config(), data_root, pairs.image_shape, SHOWN)
    generated, titles = _by_class(pairs, SHOWN)
    gan, student = curves.get(STEP_1, {}), curves.get(STEP_2, {})
    pictures = {
        "generated": figures.image_grid(generated, titles),
        "gan": figures.curves(gan, ("L_D", "L_G", "L_IM"), "loss, nats"),
        "terms": figures.curves(student, ("answer term", "image term"), "loss"),
        "agreement": figures.curves(student, ("held-out agreement",), "share of held-out answers"),
        "classes": figures.class_bars(results["pool"]["answers_by_class"]),
    }
    if real is not None:
        pictures["real"] = figures.image_grid(real)
    if "confusion" in evaluation:
        pictures["confusion"] = figures.confusion(evaluation["confusion"])
    environment = Environment(loader=PackageLoader("edge.report", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"percent": lambda share: f"{share:.2%}", "count": lambda number: f"{number:,}"}
    page = environment.get_template("template.html").render(
        results=results,
        evaluation=evaluation,
        config=_flat(results["config"]),
        pictures={name: base64.b64encode(png).decode() for name, png in pictures.items()},
    )
    write_atomically(folder.report, page.encode())
    return folder.report


def _by_class(pairs: TransferSet, count: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Generated images in the order of the teacher's class, each class alike often, and the classes as titles."""
    label_N = labels(torch.from_numpy(np.array(pairs.answers)), pairs.output).numpy()
    ranks = np.empty(len(label_N), np.int64)  # how many of its class were stored before it
    for label in np.unique(label_N):
        members = np.flatnonzero(label_N == label)
        ranks[members] = np.arange(len(members))
    chosen = np.argsort(ranks, kind="stable")[:count]
    chosen = chosen[np.argsort(label_N[chosen], kind="stable")]
    return pairs.images[chosen], [str(label) for label in label_N[chosen]]


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
