"""DKD: KL taken apart into what it says of the target class and what it says of all others, weighted each for itself.

Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022. What is sent: real images, those of KD.

    p = softmax(T/tau), q = softmax(S/tau), t = argmax T
    TCKD = KL( (p_t, 1 - p_t) || (q_t, 1 - q_t) )
    NCKD = KL( p without t, renormalised || q without t, renormalised )
    L = tau^2 (alpha TCKD + beta NCKD),  alpha = 1, beta = 8

The target class is the teacher's, since nobody labelled the images. Top-1 answers say nothing of the other classes:
NCKD would be a distance between a guess and the student.

Shapes: B batch, K classes.
"""

import torch
import torch.nn.functional as F

from edge.answer_terms import AnswerTerm, LossTerm
from edge.config import Config

ALPHA, BETA = 1.0, 8.0


def decoupled_loss(student_BK: torch.Tensor, teacher_BK: torch.Tensor, temperature: float) -> torch.Tensor:
    """L, a mean over the batch."""
    target_B1 = teacher_BK.argmax(1, keepdim=True)
    student, teacher = student_BK / temperature, teacher_BK / temperature
    tckd = F.kl_div(
        _target_or_not(student, target_B1),
        _target_or_not(teacher, target_B1),
        reduction="batchmean",
        log_target=True,
    )
    nckd = F.kl_div(
        _without_target(student, target_B1).log_softmax(1),
        _without_target(teacher, target_B1).log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    return (ALPHA * tckd + BETA * nckd) * temperature**2


def answer_term(config: Config, output: str, classes: int) -> AnswerTerm:
    """The decoupled loss at the temperature."""
    temperature = config.distillation.temperature
    return LossTerm(lambda student_BK, teacher_BK: decoupled_loss(student_BK, teacher_BK, temperature))


def _target_or_not(logits_BK: torch.Tensor, target_B1: torch.Tensor) -> torch.Tensor:
    """Log-probabilities [B, 2] of the target and of anything else.

    The latter is worked out from the others' logits, which stays exact where the target has nearly all.
    """
    log_all_B1 = logits_BK.logsumexp(1, keepdim=True)
    log_others_B1 = _without_target(logits_BK, target_B1).logsumexp(1, keepdim=True)
    return torch.cat([logits_BK.gather(1, target_B1), log_others_B1], 1) - log_all_B1


def _without_target(logits_BK: torch.Tensor, target_B1: torch.Tensor) -> torch.Tensor:
    """The other classes' logits [B, K - 1]."""
    B, K = logits_BK.shape
    others_BK = torch.ones_like(logits_BK, dtype=torch.bool).scatter(1, target_B1, value=False)
    return logits_BK[others_BK].view(B, K - 1)
