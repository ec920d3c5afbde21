"""The released code's losses. D is the discriminator's *probability* of being real, not a logit.

Shapes: B batch, K classes, C channels, H height, W width.
"""

import torch
import torch.nn.functional as F

INSIDE_LOG = 1e-5
"""What L_IM adds to D before the logarithm."""


def discriminator_loss(real_B: torch.Tensor, fake_B: torch.Tensor) -> torch.Tensor:
    """L_D = -mean log D(x) - mean log(1 - D(G(z))); logarithms end at -100."""
    on_real = F.binary_cross_entropy(real_B, torch.ones_like(real_B))
    return on_real + F.binary_cross_entropy(fake_B, torch.zeros_like(fake_B))


def generator_loss(fake_B: torch.Tensor) -> torch.Tensor:
    """L_G = -mean log D(G(z)); the logarithm ends at -100."""
    return F.binary_cross_entropy(fake_B, torch.ones_like(fake_B))


def information_maximisation_loss(fake_B: torch.Tensor, mean_index: float) -> torch.Tensor:
    """L_IM = mean over all pairs (i, j) of index_i * -log(D(G(z_j)) + 1e-5), where index_i is T's class of image i.

    The paper has mean over i of confidence_i * -log D(G(z_i)). In the released code a vector [B] meets a column
    [B, 1] and both spread to [B, B], whose mean is the product of the two means: nothing is left of which image the
    teacher said what about. Class 0 switches the term off, class 9 makes it nine times as strong.
    """
    return mean_index * -(fake_B + INSIDE_LOG).log().mean()


def image_loss(student_BCHW: torch.Tensor, teacher_BCHW: torch.Tensor) -> torch.Tensor:
    """|G(S(x')/tau) - G(T(x')/tau)|, the mean over pixels: smaller than the paper's norm by their number."""
    return F.l1_loss(student_BCHW, teacher_BCHW)


def kl_loss(student_BK: torch.Tensor, teacher_BK: torch.Tensor, temperature: float) -> torch.Tensor:
    """Tau KL(softmax(T/tau) || softmax(S/tau)); the factor tau squared would keep the gradient's size."""
    student = F.log_softmax(student_BK / temperature, dim=1)
    teacher = F.softmax(teacher_BK / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean") * temperature
