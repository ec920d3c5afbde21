import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from edge.answers import (
    PROBABILITY_FLOOR,
    centred,
    confidence,
    filled_in,
    labels,
    latents,
    rounding_step,
    simplex_latents,
    target_latents,
    target_logits,
)
from shared.protocol import LABEL, LOGITS, PROBABILITIES

K = 10
LOGIT_ROWS = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.just(K)), elements=st.floats(-8, 8))


@given(LOGIT_ROWS)
def test_probabilities_give_the_centred_logits_back(logits: NDArray[np.float64]) -> None:
    logits_NK = torch.from_numpy(logits)  # a spread of 16 keeps every p above the floor
    recovered_NK = target_logits(logits_NK.softmax(1), PROBABILITIES, K)
    torch.testing.assert_close(recovered_NK, centred(logits_NK), rtol=0, atol=1e-9)
    torch.testing.assert_close(recovered_NK.softmax(1), logits_NK.softmax(1), rtol=0, atol=1e-9)


def test_logits_are_taken_as_they_are_and_labels_become_one_hot() -> None:
    logits_NK = torch.tensor([[3.0, 1.0, -7.0]])
    assert torch.equal(target_logits(logits_NK, LOGITS, 3), logits_NK)
    assert target_logits(torch.tensor([2, 0]), LABEL, 3).tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_probability_below_the_floor_counts_as_the_floor() -> None:
    target_NK = target_logits(torch.tensor([[1.0, 0.0, 1e-30]], dtype=torch.float64), PROBABILITIES, 3)
    low = math.log(PROBABILITY_FLOOR)
    expected = [-2 * low / 3, low - 2 * low / 3, low - 2 * low / 3]
    assert target_NK[0].tolist() == pytest.approx(expected)
    assert target_NK.isfinite().all()


ANSWERS_NK = torch.tensor([[3.0, 2.0, 1.0, 0.5, -0.5], [2.5, 2.25, 1.5, 1.0, 0.25]]).softmax(1)


def test_mass_that_top_k_hides_is_spread_over_the_hidden_classes() -> None:
    top_3 = ANSWERS_NK.clone()
    top_3[:, 3:] = 0
    filled = filled_in(top_3)
    assert torch.equal(filled[:, :3], ANSWERS_NK[:, :3])
    torch.testing.assert_close(filled[:, 3:], ANSWERS_NK[:, 3:].mean(1, keepdim=True).expand(2, 2))
    torch.testing.assert_close(filled.sum(1), torch.ones(2))


def test_no_hidden_class_gets_more_than_the_least_likely_one_that_was_told() -> None:
    filled = filled_in(torch.tensor([[0.412345, 0.1012345, 0.0, 0.0]]))
    assert filled[0, 2:].tolist() == pytest.approx([0.1012345] * 2)


@pytest.mark.parametrize("decimals", range(1, 7))
def test_what_rounding_hides_is_what_is_missing_and_at_most_half_a_step_each(decimals: int) -> None:
    logits_NK = 6 * torch.randn(40, K, generator=torch.Generator().manual_seed(decimals), dtype=torch.float64)
    rounded_NK = torch.from_numpy(
        logits_NK.softmax(1).numpy().round(decimals).astype(np.float32)
    )  # as the server does
    hidden = rounded_NK == 0
    assert hidden.any() and rounding_step(rounded_NK) == pytest.approx(10.0**-decimals)
    filled = filled_in(rounded_NK)
    assert torch.equal(filled[~hidden], rounded_NK[~hidden])
    half = 10.0**-decimals / 2
    for told, whole in zip(rounded_NK, filled, strict=True):
        if zeros := int((told == 0).sum()):
            hidden_mass = max(1 - told.sum().item(), half)
            assert whole[told == 0].tolist() == pytest.approx([min(half, hidden_mass / zeros)] * zeros, abs=1e-7)


def test_a_sure_answer_of_many_classes_stays_sure_when_it_was_rounded() -> None:
    rounded_NK = torch.zeros(1, 1000)
    rounded_NK[0, :3] = torch.tensor([0.998, 0.001, 0.001])
    assert filled_in(rounded_NK)[0, 3:].sum().item() == pytest.approx(0.0005)


def test_more_than_rounding_can_hide_was_hidden_by_top_k() -> None:
    both_NK = torch.tensor([[0.5, 0.2, 0.1] + 7 * [0.0], [0.6, 0.15, 0.05] + 7 * [0.0], [0.97, 0.02] + 8 * [0.0]])
    filled = filled_in(both_NK)
    assert filled[0, 3:].tolist() == pytest.approx(7 * [0.2 / 7])
    assert filled[1, 3:].tolist() == pytest.approx(7 * [0.2 / 7])
    assert filled[2, 2:].tolist() == pytest.approx(8 * [0.01 / 8]), "this one may have been rounded alone"


def test_exact_probabilities_are_not_taken_for_rounded_ones() -> None:
    assert rounding_step(ANSWERS_NK) is None
    exact_NK = torch.randn(40, K, generator=torch.Generator().manual_seed(0)).softmax(1)
    assert rounding_step(exact_NK) is None and torch.equal(filled_in(exact_NK), exact_NK)
    assert rounding_step(torch.eye(3)) is None


def test_the_class_of_an_answer_is_the_same_under_every_response_policy() -> None:
    logits_NK = torch.randn(50, K, generator=torch.Generator().manual_seed(0))
    expected = logits_NK.argmax(1)
    assert torch.equal(labels(logits_NK, LOGITS), expected)
    assert torch.equal(labels(logits_NK.softmax(1), PROBABILITIES), expected)
    assert torch.equal(labels(expected, LABEL), expected)


def test_confidence_is_the_largest_probability_and_one_for_a_bare_label() -> None:
    logits_NK = torch.tensor([[0.0, math.log(3.0)], [5.0, 5.0]])
    assert confidence(logits_NK, LOGITS).tolist() == pytest.approx([0.75, 0.5])
    assert confidence(logits_NK.softmax(1), PROBABILITIES).tolist() == pytest.approx([0.75, 0.5])
    assert confidence(torch.tensor([4, 0, 1]), LABEL).tolist() == [1, 1, 1]


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_label_lies_as_far_from_the_origin_as_a_typical_draw_of_the_prior(classes: int) -> None:
    z_NK = target_latents(target_logits(torch.arange(classes), LABEL, classes), LABEL, temperature=5.0)
    norms_N = z_NK.norm(dim=1)
    torch.testing.assert_close(norms_N, torch.full((classes,), math.sqrt(classes)))
    torch.testing.assert_close(z_NK.sum(1), torch.zeros(classes), rtol=0, atol=1e-3)
    assert torch.equal(z_NK.argmax(1), torch.arange(classes))


def test_a_student_that_is_sure_of_the_label_meets_the_teacher_in_the_latent_space() -> None:
    one_hot_NK = target_logits(torch.tensor([3]), LABEL, K)
    torch.testing.assert_close(latents(200 * one_hot_NK, LABEL, 5.0), target_latents(one_hot_NK, LABEL, 5.0))
    assert torch.equal(simplex_latents(torch.full((1, 4), 0.25)), torch.zeros(1, 4))


def test_soft_latents_are_logits_over_the_temperature() -> None:
    logits_NK = torch.tensor([[4.0, -2.0, 1.0]])
    assert latents(logits_NK, LOGITS, 2.0).tolist() == [[2.0, -1.0, 0.5]]
    assert target_latents(logits_NK, LOGITS, 2.0).tolist() == [[2.0, -1.0, 0.5]]


@given(LOGIT_ROWS, st.floats(-50, 50))
def test_only_where_the_teacher_shows_logits_does_a_constant_move_the_student(
    logits: NDArray[np.float64], constant: float
) -> None:
    logits_NK = torch.from_numpy(logits)
    for output in (PROBABILITIES, LABEL):
        moved, still = (latents(x, output, 5.0) for x in (logits_NK + constant, logits_NK))
        torch.testing.assert_close(moved, still, rtol=0, atol=1e-9)
    moved = latents(logits_NK + constant, LOGITS, 5.0)
    torch.testing.assert_close(moved - latents(logits_NK, LOGITS, 5.0), torch.full_like(moved, constant / 5.0))
