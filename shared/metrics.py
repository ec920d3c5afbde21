"""What is reported of a student. All from logits [N, K] or labels [N], as numbers in [0, 1] or nats.

Shapes: N images, K classes.
"""

import torch
import torch.nn.functional as F


def accuracy(logits_NK: torch.Tensor, labels_N: torch.Tensor) -> float:
    """Share of images whose largest logit is the label's; with a teacher's labels this is *fidelity*."""
    return (logits_NK.argmax(1) == labels_N).double().mean().item()


def kl_divergence(teacher_NK: torch.Tensor, student_NK: torch.Tensor) -> float:
    """Mean KL(teacher || student) in nats at temperature 1."""
    teacher, student = teacher_NK.double().log_softmax(1), student_NK.double().log_softmax(1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True).item()


def confusion(labels_N: torch.Tensor, predicted_N: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts [K, K]: row = label, column = prediction."""
    return torch.bincount(labels_N * classes + predicted_N, minlength=classes**2).reshape(classes, classes)
