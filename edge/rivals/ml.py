"""ML: the student mimics the teacher's logits themselves, with a squared distance.

Ba and Caruana, "Do Deep Nets Really Need to be Deep?", NeurIPS 2014. What is sent: real images, those of KD.

Probabilities tell logits only up to a constant per image, so both sides are centred first. A class alone tells none.

Shapes: B batch, K classes.
"""

import torch
import torch.nn.functional as F

from edge.answer_terms import AnswerTerm, LossTerm
from edge.answers import centred
from edge.config import Config


def mimic_loss(student_BK: torch.Tensor, teacher_BK: torch.Tensor) -> torch.Tensor:
    """Mean over images and classes of the squared difference of centred logits."""
    return F.mse_loss(centred(student_BK), centred(teacher_BK))


def answer_term(config: Config, output: str, classes: int) -> AnswerTerm:
    """The mimic loss."""
    return LossTerm(mimic_loss)
