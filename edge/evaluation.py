"""What a student is worth: on labelled test images, and against the teacher on the same images.

Asking the teacher about test images costs queries like any other, so it is done with a key of its own and a journal
of its own: visible, never free, never mixed with what the student learnt from.

The test images are a named dataset's, or a labelled folder of the user's. Of a folder that a run learnt from, nothing
is taken for a test: it has no labels, and asking the teacher about it would send private images.

An adapted student is measured beside the student, against the labels and against whatever answers to the same images
are in that journal already: it never costs a query.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.adapted_student import Adaptation, predict_adapted
from edge.answers import labels, target_logits
from edge.asking.link import Link
from edge.asking.oracle import Oracle
from edge.asking.same_teacher import check_same_teacher
from edge.asking.teacher import Teacher
from edge.config import FOLDER
from edge.distillation import predict
from edge.images.image_folder import read_labelled
from edge.images.local_images import digest, labelled_test_images
from edge.planning.plan import largest_request
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Images, Journal, TransferSet
from shared import metrics
from shared.checkpoints import Card
from shared.datasets import Labelled
from shared.errors import BudgetTooSmall, InvalidConfig
from shared.protocol import LABEL

STAGE = "evaluation"
IMAGES_PER_REQUEST = 250


def evaluate(
    folder: RunFolder,
    teacher: Teacher | None,
    data_root: Path | None,
    watcher: Watcher,
    link: Link | None = None,
    test_folder: Path | None = None,
    adaptation: Adaptation | None = None,
) -> dict[str, Any]:
    """Measure a run's student on the test images; with a `teacher` also the teacher, and the two against each other.

    What was measured is written into the run's results and returned, with the `link` that the teacher is behind.

    Args:
        folder: of a finished run.
        teacher: is sent the test images, each at the price of a query; None asks nobody.
        data_root: folder of the datasets that live in files, or of the images that the run learnt from, where it is
            to be adapted to them.
        watcher: told of files and answers, may ask for a stop.
        link: that the teacher is behind.
        test_folder: the user's own test images, see `read_labelled`; None takes those of the run's dataset.
        adaptation: also measure the student adapted so.

    Raises:
        MekdError: no finished run, no such data, or the teacher cannot be asked.
    """
    dataset, results = folder.config().dataset, folder.results()
    card, student = folder.load_student()
    test = labelled_images(dataset, card, data_root, test_folder, watcher)
    identity = digest(test.images)
    label_N = torch.from_numpy(test.labels)
    logits_NK = predict(student, test.images)
    adapted = predict_adapted(folder, test.images, adaptation, data_root, watcher) if adaptation else None
    measured: dict[str, Any] = {
        "test_images": len(label_N),
        "test_images_sha256": identity,
        "student_accuracy": metrics.accuracy(logits_NK, label_N),
        "confusion": metrics.confusion(label_N, logits_NK.argmax(1), card.classes).tolist(),
    }
    if teacher is not None:
        measured |= _against_teacher(folder, teacher, test, logits_NK, watcher)
        measured["link"] = link.model_dump() if link else None
    if adapted is not None:
        told, adapted_NK = adapted
        measured["adapted"] = told | judged(adapted_NK, label_N, answers_to(folder, test.images))
    known = results.get("evaluation", {})
    if known.get("test_images_sha256") != identity:
        known = {}  # else the teacher's numbers were paid for and stay true of this student on these images
    folder.keep_results(results | {"evaluation": known | measured})
    return measured


def labelled_images(
    dataset: str, card: Card, data_root: Path | None, test_folder: Path | None, watcher: Watcher
) -> Labelled:
    """Labelled images to measure on: those of `test_folder`, else the dataset's.

    Raises:
        InvalidConfig: nobody labelled any.
        UnknownDataset, InvalidImage, Stopped: as `read_labelled`.
    """
    if test_folder is not None:
        return read_labelled(test_folder, card.image_shape, card.classes, watcher)
    if dataset == FOLDER:
        raise InvalidConfig(
            "The run learnt from a folder of images without labels: there is nothing to count the student's answers "
            "against, and comparing it with the teacher there would send private images. Give labelled test images "
            "with --test FOLDER, a subfolder per class."
        )
    return labelled_test_images(dataset, data_root)


def _against_teacher(
    folder: RunFolder, teacher: Teacher, test: Labelled, logits_NK: torch.Tensor, watcher: Watcher
) -> dict[str, Any]:
    images, label_N, classes = test.images, torch.from_numpy(test.labels), logits_NK.shape[1]
    stage = _stage(images)
    metadata = teacher.metadata()
    output = metadata.richest_output()
    batch = largest_request(teacher.usage(), min(IMAGES_PER_REQUEST, folder.config().request))
    with Journal(folder.evaluation_journal) as journal:
        check_same_teacher(metadata, journal)
        oracle = Oracle(
            teacher,
            journal,
            output,
            classes=classes,
            batch=batch,
            should_stop=watcher.should_stop,
            on_answer=watcher.on_answer,
        )
        answered = oracle.ask(stage, images)
        if oracle.exhausted:
            raise BudgetTooSmall(
                f"Evaluation needs {len(images)} queries, the key paid only {len(answered)}. They are stored; "
                "give the key a larger budget, and the same command asks the rest."
            )
        traffic, queries = journal.traffic(stage), journal.queries(stage)
    teacher_N = labels(torch.from_numpy(np.array(answered.answers)), output)
    compared: dict[str, Any] = {
        "teacher_accuracy": (teacher_N == label_N).double().mean().item(),
        "teacher_confusion": metrics.confusion(label_N, teacher_N, classes).tolist(),
        "agreement": metrics.confusion(teacher_N, logits_NK.argmax(1), classes).tolist(),
        "queries": queries,
        "bytes_up": traffic.up,
        "bytes_down": traffic.down,
        "link_seconds": round(traffic.link_seconds, 3),
    }
    return compared | nearness(logits_NK, answered)


def judged(logits_NK: torch.Tensor, label_N: torch.Tensor, answered: TransferSet | None) -> dict[str, float]:
    """A student's accuracy, and how near it is to the teacher where that has `answered`."""
    return {"accuracy": metrics.accuracy(logits_NK, label_N)} | (nearness(logits_NK, answered) if answered else {})


def nearness(logits_NK: torch.Tensor, answered: TransferSet) -> dict[str, float]:
    """How near a student is to the teacher's answers to the same images."""
    answers = torch.from_numpy(np.array(answered.answers))
    near = {"fidelity": metrics.accuracy(logits_NK, labels(answers, answered.output))}
    if answered.output != LABEL:
        target_NK = target_logits(answers, answered.output, logits_NK.shape[1])
        near["kl_nats"] = metrics.kl_divergence(target_NK, logits_NK)
    return near


def answers_to(folder: RunFolder, images: Images) -> TransferSet | None:
    """The teacher's answers to the test `images` that an evaluation has paid for; None where one is missing."""
    return all_answers(folder.evaluation_journal, _stage(images), len(images))


def all_answers(path: Path, stage: str, count: int) -> TransferSet | None:
    """The `count` answers of a stage in the journal at `path`; None where there is no journal, or one is missing."""
    if not path.exists():
        return None
    with Journal(path) as journal:
        complete = sum(len(request.images) for request in journal.answered(stage)) == count
        return journal.transfer_set(stage) if complete else None


def _stage(images: Images) -> str:
    """Name of these test images in the journal."""
    return f"{STAGE} on {digest(images)}"
