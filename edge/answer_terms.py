"""What draws a student's logits towards the teacher's answers to the same images: the answer term of step 2.

MEKD's own is KL, or cross-entropy where only the class is known. Rivals bring theirs (`edge.rivals`).

Shapes: B batch, K classes.
"""

from collections.abc import Callable
from typing import Protocol

import torch

from edge.config import Config
from edge.losses import kl_loss, label_loss
from shared.protocol import LABEL
from shared.training_state import Stateful


class AnswerTerm(Protocol):
    """A loss, which may have something to learn of its own."""

    def __call__(self, student_BK: torch.Tensor, target_BK: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        """Of a batch.

        Args:
            student_BK: the student's logits.
            target_BK: the teacher's answers as logits, see `edge.answers.target_logits`.
            label_B: the teacher's classes.
        """

    def parts(self) -> dict[str, Stateful]:
        """What changes while it is used, by name, to be kept with the state of the training."""


MakeTerm = Callable[[Config, str, int], AnswerTerm]
"""Config, output that was asked for, and K -> a term."""


class LossTerm:
    """A loss of the student's logits and the teacher's that learns nothing of its own."""

    def __init__(self, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> None:
        self.loss = loss

    def __call__(self, student_BK: torch.Tensor, target_BK: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        """The loss."""
        return self.loss(student_BK, target_BK)

    def parts(self) -> dict[str, Stateful]:
        """Nothing."""
        return {}


class LabelTerm:
    """Cross-entropy with the teacher's class."""

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing

    def __call__(self, student_BK: torch.Tensor, target_BK: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
        """The cross-entropy."""
        return label_loss(student_BK, label_B, self.smoothing)

    def parts(self) -> dict[str, Stateful]:
        """Nothing."""
        return {}


def answer_term(config: Config, output: str, classes: int) -> AnswerTerm:
    """KL at the temperature, or cross-entropy."""
    if output == LABEL:
        return LabelTerm(config.distillation.label_smoothing)
    temperature = config.distillation.temperature
    return LossTerm(lambda student_BK, target_BK: kl_loss(student_BK, target_BK, temperature))
