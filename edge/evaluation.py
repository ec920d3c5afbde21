"""What a student is worth: on labelled test images, and against the teacher on the same images.

Asking the teacher about test images costs queries like any other, so it is done with a key of its own and a journal
of its own: visible, never free, never mixed with what the student learnt from.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.answers import labels, target_logits
from edge.distillation import predict
from edge.journal import Images, Journal
from edge.link import Link
from edge.local_images import labelled_test_images
from edge.oracle import Oracle
from edge.plan import largest_request
from edge.run_folder import RunFolder
from edge.teacher import Teacher
from edge.training import Watcher
from shared import metrics, pixels
from shared.errors import BudgetTooSmall
from shared.protocol import LABEL

STAGE = "evaluation"
IMAGES_PER_REQUEST = 250


def evaluate(
    folder: RunFolder, teacher: Teacher | None, data_root: Path | None, watcher: Watcher, link: Link | None = None
) -> dict[str, Any]:
    """Measure a run's student on the test images; with a `teacher` also the teacher, and the two against each other.

    What was measured is written into the run's results and returned, with the `link` that the teacher is behind.

    Raises:
        MekdError: no finished run, no such data, or the teacher cannot be asked.
    """
    test = labelled_test_images(folder.config().dataset, data_root)
    results = folder.results()
    card, student = folder.load_student()
    label_N = torch.from_numpy(test.labels)
    logits_NK = predict(student, pixels.from_array(test.images))
    measured: dict[str, Any] = {
        "test_images": len(label_N),
        "student_accuracy": metrics.accuracy(logits_NK, label_N),
        "confusion": metrics.confusion(label_N, logits_NK.argmax(1), card.classes).tolist(),
    }
    if teacher is not None:
        measured |= _against_teacher(folder, teacher, test.images, label_N, logits_NK, watcher)
        measured["link"] = link.model_dump() if link else None
    known = results.get("evaluation", {})  # the teacher's numbers were paid for and stay true of this student
    folder.keep_results(results | {"evaluation": known | measured})
    return measured


def _against_teacher(
    folder: RunFolder,
    teacher: Teacher,
    images: Images,
    label_N: torch.Tensor,
    logits_NK: torch.Tensor,
    watcher: Watcher,
) -> dict[str, Any]:
    output = teacher.metadata().richest_output()
    batch = largest_request(teacher.usage(), IMAGES_PER_REQUEST)
    with Journal(folder.evaluation_journal) as journal:
        oracle = Oracle(
            teacher, journal, output, batch=batch, should_stop=watcher.should_stop, on_answer=watcher.on_answer
        )
        answered = oracle.ask(STAGE, images)
        if oracle.exhausted:
            raise BudgetTooSmall(
                f"Evaluation needs {len(images)} queries, the key paid only {len(answered)}. They are stored; "
                "give the key a larger budget, and the same command asks the rest."
            )
        traffic, queries = journal.traffic(), journal.queries()
    answers = torch.from_numpy(np.array(answered.answers))
    teacher_N = labels(answers, output)
    compared: dict[str, Any] = {
        "teacher_accuracy": (teacher_N == label_N).double().mean().item(),
        "fidelity": metrics.accuracy(logits_NK, teacher_N),
        "queries": queries,
        "bytes_up": traffic.up,
        "bytes_down": traffic.down,
        "link_seconds": round(traffic.link_seconds, 3),
    }
    if output != LABEL:
        target_NK = target_logits(answers, output, logits_NK.shape[1])
        compared["kl_nats"] = metrics.kl_divergence(target_NK, logits_NK)
    return compared
