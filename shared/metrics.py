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


def calibration_error(logits_NK: torch.Tensor, labels_N: torch.Tensor, bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from accuracy, over bins of equal width, weighted by images.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    confidence_N, predicted_N = logits_NK.double().softmax(1).max(1)
    right_N = (predicted_N == labels_N).double()
    bin_N = (confidence_N * bins).ceil().long().clamp(1, bins) - 1
    gap = torch.zeros(bins, dtype=torch.float64).index_add(0, bin_N, confidence_N - right_N)
    return gap.abs().sum().item() / len(labels_N)


def confusion(labels_N: torch.Tensor, predicted_N: torch.Tensor, classes: int) -> torch.Tensor:
    """Counts [K, K]: row = label, column = prediction."""
    return torch.bincount(labels_N * classes + predicted_N, minlength=classes**2).reshape(classes, classes)
