"""AL, adversarial logits: a discriminator tells the teacher's logits from the student's, and the student deceives it.

After Xu, Hsu and Huang, "Training Shallow and Thin Networks for Acceleration via Knowledge Distillation with
Conditional Adversarial Networks", 2018, in the form that MEKD's authors compare with, without labels. What is sent:
real images, those of KD.

    L_D = -mean log D(T) - mean log(1 - D(S))                discriminator, S a constant
    L_S = 0.5 tau^2 KL_tau(T || S) - 0.15 mean log D(S)      student

The code released with MEKD has both of them minimise L_D, so that its student makes itself easier to tell. Here the
student's sign is the paper's. Logits are centred first: of probabilities nobody knows the constant, and a constant
would give the two away. A class alone has no logits.

Shapes: B batch, K classes.
"""

import torch
from torch import nn

from edge.answer_terms import AnswerTerm
from edge.answers import centred
from edge.config import Config
from edge.deprivatization import descend
from edge.distillation import STAGE
from edge.losses import discriminator_loss, generator_loss, kl_loss
from shared import compute, seeding
from shared.training_state import Stateful

KL_WEIGHT, ADVERSARIAL_WEIGHT = 0.5, 0.15
LEARNING_RATE = 1e-3
"""Of the discriminator. The released 1e-2 leaves it saturated on a few hundred answers."""


class AdversarialTerm:
    """The student's loss, with the discriminator that learns beside it."""

    def __init__(self, config: Config, classes: int) -> None:
        self.temperature = config.distillation.temperature
        seeding.seed_initial_weights(config.seed, STAGE, "logit discriminator")
        self.discriminator = nn.Sequential(
            nn.Linear(classes, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1)
        ).to(compute.device())
        self.adam = torch.optim.Adam(self.discriminator.parameters(), LEARNING_RATE)

    def __call__(self, student_BK: torch.Tensor, target_BK: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        """L_S, after one update of the discriminator."""
        ours_BK, theirs_BK = centred(student_BK), centred(target_BK)
        descend(self.adam, discriminator_loss(self._judge(theirs_BK), self._judge(ours_BK.detach())))
        self.discriminator.requires_grad_(False)
        deceived = generator_loss(self._judge(ours_BK))
        self.discriminator.requires_grad_(True)
        return KL_WEIGHT * kl_loss(student_BK, target_BK, self.temperature) + ADVERSARIAL_WEIGHT * deceived

    def parts(self) -> dict[str, Stateful]:
        """The discriminator and its optimiser."""
        return {"logit discriminator": self.discriminator, "logit discriminator's adam": self.adam}

    def _judge(self, logits_BK: torch.Tensor) -> torch.Tensor:
        logit_B: torch.Tensor = self.discriminator(logits_BK).squeeze(1)
        return logit_B


def answer_term(config: Config, output: str, classes: int) -> AnswerTerm:
    """The adversarial term."""
    return AdversarialTerm(config, classes)
