"""report.html: one file with everything in it, for a browser without a network."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edge.deprivatization import STAGE as STEP_1
from edge.distillation import STAGE as STEP_2
from edge.images.local_images import some_images
from edge.methods import method_of
from edge.report import by_queries, charts, figures, pictures
from edge.report.summary import adapted_to
from edge.run_folder import RunFolder
from edge.transfer_set.journal import Journal
from edge.transfer_set.run_pairs import run_pairs
from edge.transfer_set.stored_pairs import StoredPairs
from shared.whole_files import write_atomically

REAL_IMAGES_READ = 512
"""Enough to find every class among them."""
FORESEEN = {
    "queries": "queries",
    "bytes_up": "bytes up",
    "bytes_down": "bytes down",
    "link_seconds": "seconds on the link",
    "seconds": "seconds in all",
}
ADAPTED = (
    ("accuracy", "student_accuracy", "accuracy", ".2%"),
    ("fidelity", "fidelity", "fidelity: same class as the teacher", ".2%"),
    ("kl_nats", "kl_nats", "KL(teacher || student), nats", ".4f"),
)
"""In the adapted student's numbers, in the student's, in words, and how it is written."""
TERMS = {"answer term": "nats", "image term": "sum over pixels", "pixel term": "mean over pixels"}
"""Units of the curves of step 2."""
CONFUSIONS = {
    "confusion": ("student", "true class", "student's class"),
    "teacher_confusion": ("teacher", "true class", "teacher's class"),
    "agreement": ("student against teacher", "teacher's class", "student's class"),
}


def write_report(folder: RunFolder, data_root: Path | None, others: Sequence[RunFolder] = ()) -> Path:
    """Write the report of a finished run and return its path.

    Args:
        folder: the run's.
        data_root: folder of the datasets that live in files. A run that learnt from a folder of images shows some of
            them only where this names that folder.
        others: runs to compare with by queries.

    Raises:
        MekdError: a run is not finished, or its files cannot be read.
    """
    results, pairs = folder.results(), run_pairs(folder)
    with Journal(folder.journal) as journal:
        payments = journal.payments()
    evaluation = results.get("evaluation", {})
    classes = len(results["pool"]["answers_by_class"])
    balance, complete = by_queries.balance(pictures.teacher_classes(pairs), classes)
    rows, comparison = by_queries.compared([folder, *others]) if others else ([], None)
    grids, wrong = _grids(folder, pairs, data_root, classes)
    environment = Environment(loader=PackageLoader("edge.report", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"percent": _percent, "count": _count, "seconds": lambda number: f"{number:,.1f}"}
    page = environment.get_template("template.html").render(
        results=results,
        evaluation=evaluation,
        adapted=list(_adapted(evaluation)),
        adapted_to=adapted_to(evaluation["adapted"]) if "adapted" in evaluation else None,
        link=results.get("link"),
        config=_flat(results["config"]),
        account=_account(results),
        foreseen=list(_foreseen(results)),
        training=_training(folder),
        spending=by_queries.spending(payments) if any(payment.queries for payment in payments) else None,
        balance=balance,
        complete=complete,
        compared=rows,
        comparison=comparison,
        confusions=list(_confusions(evaluation)),
        per_class=_per_class(evaluation),
        grids=grids,
        wrong=wrong,
    )
    write_atomically(folder.report, page.encode())
    return folder.report


def _grids(
    folder: RunFolder, pairs: StoredPairs, data_root: Path | None, classes: int
) -> tuple[dict[str, str], int | None]:
    """Pictures by name as base64, and how many held-out answers the student gets wrong; None if there are none."""
    config, (_, student) = folder.config(), folder.load_student()
    grids = {
        "generated": figures.labelled_rows(pictures.by_class(pairs.images, pictures.teacher_classes(pairs), classes))
    }
    real = some_images(config, data_root, pairs.kind.image_shape, REAL_IMAGES_READ)
    if real is not None:
        label_N = pictures.student_classes(student, real)
        grids["real"] = figures.labelled_rows(pictures.by_class(real, label_N, classes))
    wrong = None
    learnt_from_all = method_of(config).replayed  # else the held-out answers are not those that `mistakes` would take
    if learnt_from_all and "held-out agreement" in folder.curves().get(STEP_2, {}):
        images, titles, wrong = pictures.mistakes(student, pairs, config)
        if wrong:
            grids["mistakes"] = figures.image_grid(images, titles)
    return {name: base64.b64encode(png).decode() for name, png in grids.items()}, wrong


def _training(folder: RunFolder) -> dict[str, list[Markup]]:
    """Curves by step of the stages that this folder trained; a replay has no step 1."""
    shown, curves = {}, folder.curves()
    if gan := curves.get(STEP_1):
        losses = charts.curves(
            gan, ("L_D", "L_G", "L_IM"), "loss, nats", "Losses of the GAN over the steps of step 1."
        )
        shown["Step 1: deprivatization"] = [losses]
    if student := curves.get(STEP_2):
        shown["Step 2: distillation"] = [
            charts.curves(student, (term,), f"{term}, {unit}", f"The {term} over the steps of step 2.")
            for term, unit in TERMS.items()
            if term in student
        ]
        if "held-out agreement" in student:
            shown["Step 2: distillation"].append(
                charts.curves(
                    student,
                    ("held-out agreement",),
                    "held-out agreement",
                    "Share of the held-out answers where the student names the teacher's class, by step.",
                    shares=True,
                )
            )
    return shown


def _account(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per stage, one for traffic that asks about no image, one for all; None is what does not apply."""
    rows: list[dict[str, Any]] = [{"part": name, **stage} for name, stage in results["stages"].items()]
    nothing = {"queries_planned": None, "queries": None, "queries_by_server": None, "seconds": None}
    rows.append({"part": "metadata and usage", **nothing, **results["bookkeeping"]})
    names = ["queries_planned", "queries", "queries_by_server", "bytes_up", "bytes_down", "link_seconds", "seconds"]
    total: dict[str, Any] = {"part": "in all"}
    for name in names:
        known = [row[name] for row in rows if row.get(name) is not None]
        total[name] = sum(known) if known else None
    return [{"part": row["part"]} | {name: row.get(name) for name in names} for row in (*rows, total)]


def _foreseen(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was predicted before anything was paid, against what happened, by stage."""
    for stage, predicted in ((results.get("prediction") or {}).get("stages") or {}).items():
        for name, label in FORESEEN.items():
            before, after = predicted.get(name), results["stages"][stage].get(name)
            if before is not None and after is not None:
                off = (after - before) / before if before else None
                yield {"stage": stage, "what": label, "predicted": before, "happened": after, "off": off}


def _adapted(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What was measured of the student and of the adapted one, side by side."""
    for name, of_student, label, form in ADAPTED:
        if name in evaluation.get("adapted", {}) and of_student in evaluation:
            yield label, format(evaluation[of_student], form), format(evaluation["adapted"][name], form)


def _confusions(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Markup]]:
    """Titles and matrices of all that was measured."""
    for name, (title, rows, columns) in CONFUSIONS.items():
        if name in evaluation:
            alt = f"Confusion matrix of {title}: rows are the {rows}, columns the {columns}."
            yield title, charts.confusion(evaluation[name], rows, columns, alt)


def _per_class(evaluation: Mapping[str, Any]) -> Markup | None:
    series = {}
    for who, name in (("teacher", "teacher_confusion"), ("student", "confusion")):
        if name in evaluation:
            matrix = evaluation[name]
            series[who] = [row[place] / max(1, sum(row)) for place, row in enumerate(matrix)]
    return charts.bars(series, "class", "accuracy", "Accuracy by class.", shares=True) if series else None


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _count(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.1f}" if isinstance(number, float) else f"{number:,}"
