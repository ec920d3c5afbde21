"""What the students of a sweep are worth: on the test images, against their labels and the teacher's answers.

The teacher is asked about them once for all students, with a key of its own: its queries are visible, and no run's.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge.answers import labels
from edge.asking.oracle import Oracle
from edge.asking.same_teacher import check_same_teacher
from edge.asking.teacher import Teacher
from edge.distillation import predict
from edge.evaluation import IMAGES_PER_REQUEST, STAGE, all_answers, nearness
from edge.planning.plan import largest_request
from edge.run_folder import RunFolder
from edge.training import Watcher
from edge.transfer_set.journal import Images, Journal
from shared import metrics
from shared.datasets import Labelled
from shared.errors import BudgetTooSmall


def check_teacher_of(teacher: Teacher, path: Path) -> None:
    """See that the journal at `path`, where answers to test images are kept, belongs to this teacher.

    Raises:
        RunMismatch: it belongs to another.
    """
    with Journal(path) as journal:
        check_same_teacher(teacher.metadata(), journal)


def ask_about_tests(teacher: Teacher, images: Images, path: Path, watcher: Watcher) -> None:
    """Have the teacher's answers to the test images in the journal at `path`.

    Raises:
        BudgetTooSmall: the key does not pay for all of them.
    """
    metadata = teacher.metadata()
    with Journal(path) as journal:
        oracle = Oracle(
            teacher,
            journal,
            metadata.richest_output(),
            batch=largest_request(teacher.usage(), IMAGES_PER_REQUEST),
            should_stop=watcher.should_stop,
        )
        answered = oracle.ask(STAGE, images)
    if len(answered) < len(images):
        raise BudgetTooSmall(
            f"The teacher is to be asked about {len(images)} test images, and the key paid for {len(answered)} of "
            "them, which are stored. Have its budget raised; the same command asks the rest."
        )


def measured(folder: RunFolder, test: Labelled, answers: Path) -> dict[str, Any]:
    """Accuracy, calibration error and, where the teacher was asked, its accuracy, fidelity and KL; None if not."""
    _, student = folder.load_student()
    logits_NK, label_N = predict(student, test.images), torch.from_numpy(test.labels)
    found: dict[str, Any] = {
        "test_images": len(label_N),
        "accuracy": metrics.accuracy(logits_NK, label_N),
        "calibration_error": metrics.calibration_error(logits_NK, label_N),
    }
    found |= {"teacher_accuracy": None, "fidelity": None, "kl_nats": None}
    answered = all_answers(answers, STAGE, len(label_N))
    if answered is not None:
        teacher_N = labels(torch.from_numpy(np.array(answered.answers)), answered.output)
        found["teacher_accuracy"] = (teacher_N == label_N).double().mean().item()
        found |= nearness(logits_NK, answered)
    return {name: value if value is None or math.isfinite(value) else None for name, value in found.items()}
