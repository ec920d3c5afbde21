"""The losses of both steps, as written in the paper but for what their docstrings say; each is a mean over the batch.

Shapes: B batch, K classes, C channels, H height, W width. `logit_B` is the discriminator's output before the
sigmoid, so log D = -softplus(-logit) and log(1 - D) = -softplus(logit).
"""

import torch
import torch.nn.functional as F


def discriminator_loss(real_logit_B: torch.Tensor, fake_logit_B: torch.Tensor) -> torch.Tensor:
    """L_D = -mean log D(x) - mean log(1 - D(G(z)))."""
    return F.softplus(-real_logit_B).mean() + F.softplus(fake_logit_B).mean()


def generator_loss(fake_logit_B: torch.Tensor) -> torch.Tensor:
    """L_G = -mean log D(G(z)), the non-saturating form."""
    return F.softplus(-fake_logit_B).mean()


def information_maximisation_loss(fake_logit_B: torch.Tensor, confidence_B: torch.Tensor) -> torch.Tensor:
    """L_IM = -mean(y_T log D(G(z))) with y_T = max_k softmax(T(G(z)))_k, in which the teacher is a constant."""
    return (confidence_B * F.softplus(-fake_logit_B)).mean()


def image_loss(student_BCHW: torch.Tensor, teacher_BCHW: torch.Tensor) -> torch.Tensor:
    """|| G(S(x')/tau) - G(T(x')/tau) ||_1: the sum over an image's pixels, as a norm is, not their mean."""
    return (student_BCHW - teacher_BCHW).abs().flatten(1).sum(1).mean()


def kl_loss(student_BK: torch.Tensor, teacher_BK: torch.Tensor, temperature: float) -> torch.Tensor:
    """tau^2 KL(softmax(T/tau) || softmax(S/tau)).

    tau^2 keeps the gradient's size when tau changes (Hinton et al. 2015); the paper's formula does not tell, and the
    official code has tau^1.
    """
    student = F.log_softmax(student_BK / temperature, dim=1)
    teacher = F.log_softmax(teacher_BK / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def label_loss(student_BK: torch.Tensor, label_B: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Cross-entropy with the teacher's top-1, the KL term's place when there are no soft answers."""
    return F.cross_entropy(student_BK, label_B, label_smoothing=smoothing)


def surest_label(classes: int, smoothing: float) -> float:
    """The probability of its class that `label_loss` teaches, where it has its minimum: 1 - s + s / K."""
    return 1 - smoothing + smoothing / classes
