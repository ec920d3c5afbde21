"""What the teacher's answers mean to the two steps, for every response policy (paper, section 3; top-1 is ours).

Shapes: N answers, B batch, K classes = latent dimension.
"""

import math

import torch
import torch.nn.functional as F

from shared.protocol import LABEL, PROBABILITIES

PROBABILITY_FLOOR = 1e-8
"""Smallest probability taken at its word; log p of anything below says more about rounding than about the image."""


def target_logits(answers: torch.Tensor, output: str, classes: int) -> torch.Tensor:
    """Answers -> logits [N, K]: what the student is to reproduce.

    Logits are taken as they are. Probabilities know the logits up to a constant, so log p is centred. A label becomes
    a one-hot vector, which is no logit but the mean of a distribution; see `latents`.
    """
    if output == LABEL:
        return F.one_hot(answers.long(), classes).float()
    if output == PROBABILITIES:
        return centred(answers.clamp_min(PROBABILITY_FLOOR).log())
    return answers


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
