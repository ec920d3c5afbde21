"""What the teacher's answers mean to the two steps, for every response policy: soft as in the paper, and top-1.

Shapes: N answers, B batch, K classes = latent dimension.
"""

import math

import torch
import torch.nn.functional as F

from shared.protocol import LABEL, PROBABILITIES

PROBABILITY_FLOOR = 1e-8
"""Smallest probability taken at its word; log p of anything below says more about rounding than about the image."""
MOST_DECIMALS = 6
"""Finer roundings cannot be told from float32."""
SINGLE_PRECISION = 1e-7
"""How far a rounded number below 1 may be from itself in float32."""


def target_logits(answers: torch.Tensor, output: str, classes: int) -> torch.Tensor:
    """Answers -> logits [N, K]: what the student is to reproduce.

    Logits are taken as they are. Probabilities know the logits up to a constant, so log p is centred; zeros are
    filled in first. A label becomes a one-hot vector, which is no logit but the mean of a distribution; see
    `latents`.
    """
    if output == LABEL:
        return F.one_hot(answers.long(), classes).float()
    if output == PROBABILITIES:
        return centred(filled_in(answers).log())
    return answers


def filled_in(probability_NK: torch.Tensor) -> torch.Tensor:
    """Probabilities [N, K] with a guess in the place of every zero, so that their logarithms are of use.

    A zero is what the server did not tell. The mass that is missing from the sum is spread evenly over the zeros.
    Top-k answers hide the least likely classes: none gets more than the least likely one that was told. Rounded
    answers hide what is below half a rounding step: none gets more than that, and all of them together get half a
    step where rounding has left no mass missing. Where more is missing than rounding can hide, which is half a step
    of every class, the answer is top-k as well.
    """
    hidden_NK = probability_NK == 0
    missing_N1 = (1 - probability_NK.sum(1, keepdim=True)).clamp_min(0)
    most_N1 = probability_NK.masked_fill(hidden_NK, 1.0).amin(1, keepdim=True)
    if step := rounding_step(probability_NK):
        rounded_N1 = missing_N1 <= probability_NK.shape[1] * step / 2
        missing_N1 = missing_N1.clamp_min(step / 2)
        most_N1 = torch.where(rounded_N1, torch.full_like(most_N1, step / 2), most_N1)
    guess_N1 = torch.minimum(missing_N1 / hidden_NK.sum(1, keepdim=True).clamp_min(1), most_N1)
    return torch.where(hidden_NK, guess_N1, probability_NK).clamp_min(PROBABILITY_FLOOR)


def rounding_step(probability_NK: torch.Tensor) -> float | None:
    """The power of ten to whose multiples all probabilities were rounded; None where they were not."""
    told = probability_NK[(probability_NK > 0) & (probability_NK < 1)].double()
    for decimals in range(1, MOST_DECIMALS + 1):
        multiples = told * 10**decimals
        whole = multiples.round()
        if len(told) and whole.min() >= 1 and (multiples - whole).abs().max() < SINGLE_PRECISION * 10**decimals:
            return float(10**-decimals)
    return None


def labels(answers: torch.Tensor, output: str) -> torch.Tensor:
    """The teacher's class [N] of every answer."""
    return answers.long() if output == LABEL else answers.argmax(1)


def confidence(answers: torch.Tensor, output: str) -> torch.Tensor:
    """y_T = max_k softmax(T)_k, [N] in (0, 1]; 1 where only the label is known."""
    if output == LABEL:
        return torch.ones(len(answers))
    if output == PROBABILITIES:
        return answers.amax(1)
    return answers.softmax(1).amax(1)


def centred(logits_BK: torch.Tensor) -> torch.Tensor:
    """Logits with mean 0 per image; softmax does not see the difference, the generator would."""
    return logits_BK - logits_BK.mean(1, keepdim=True)


def latents(logits_BK: torch.Tensor, output: str, temperature: float) -> torch.Tensor:
    """Where in the generator's latent space a *student's* logits lie, [B, K]."""
    if output == LABEL:
        return simplex_latents(logits_BK.softmax(1))
    if output == PROBABILITIES:
        logits_BK = centred(logits_BK)
    return logits_BK / temperature


def target_latents(target_NK: torch.Tensor, output: str, temperature: float) -> torch.Tensor:
    """Where in the generator's latent space the *teacher's* answers lie, [N, K]."""
    return simplex_latents(target_NK) if output == LABEL else target_NK / temperature


def simplex_latents(probability_BK: torch.Tensor) -> torch.Tensor:
    """Map p to s (p - 1/K), where s gives a one-hot p the norm sqrt(K) of a typical draw from N(0, I_K).

    A raw one-hot vector divided by tau = 5 would lie near the origin, where the generator was hardly trained.
    """
    K = probability_BK.shape[1]
    return math.sqrt(K) / math.sqrt(1 - 1 / K) * (probability_BK - 1 / K)
