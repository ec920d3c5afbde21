import math

import pytest
import torch

from shared.metrics import accuracy, calibration_error, confusion, kl_divergence


def test_accuracy_counts_images_whose_largest_logit_is_the_label() -> None:
    logits_NK = torch.tensor([[3.0, 1.0], [0.0, 2.0], [-1.0, -2.0]])
    assert accuracy(logits_NK, torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy(logits_NK, torch.tensor([1, 0, 1])) == 0


def test_kl_is_the_mean_of_p_log_p_over_q_in_nats() -> None:
    teacher = torch.tensor([[math.log(3.0), 0.0], [0.0, 0.0]])  # p = (3/4, 1/4) and (1/2, 1/2)
    student = torch.tensor([[0.0, 0.0], [0.0, math.log(4.0)]])  # q = (1/2, 1/2) and (1/5, 4/5)
    first = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    second = 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)
    assert kl_divergence(teacher, student) == pytest.approx((first + second) / 2)
    assert kl_divergence(student, teacher) != pytest.approx((first + second) / 2)
    assert kl_divergence(teacher, teacher + 5) == pytest.approx(0, abs=1e-12)


def test_confusion_counts_labels_in_rows_and_predictions_in_columns() -> None:
    counts = confusion(torch.tensor([0, 0, 2, 2, 2]), torch.tensor([0, 1, 2, 2, 0]), classes=4)
    assert counts.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy_bin_by_bin() -> None:
    def logits(probability: float) -> list[float]:
        return [math.log(probability), math.log(1 - probability)]

    # Two images of confidence 0.9, one right: a gap of 0.4. Two of 0.6, both right: a gap of 0.4 the other way.
    four = torch.tensor([logits(0.9), logits(0.9), logits(0.6), logits(0.4)], dtype=torch.float64)
    assert calibration_error(four, torch.tensor([0, 1, 0, 1])) == pytest.approx(0.4)
    assert calibration_error(four[:1], torch.tensor([0])) == pytest.approx(0.1)
    sure = torch.tensor([[1000.0, 0.0], [0.0, 1000.0]])
    assert calibration_error(sure, torch.tensor([0, 1])) == 0
    assert calibration_error(sure, torch.tensor([1, 0])) == 1
