"""KN, Knockoff Nets with random questions: cross-entropy with the teacher's probabilities as they are.

Orekondy, Schiele and Fritz, "Knockoff Nets: Stealing Functionality of Black-Box Models", CVPR 2019. What is sent: a
random part of the real images, those of KD. Against KD the difference is the temperature: KN's is 1.

Shapes: B batch, K classes.
"""

import torch
import torch.nn.functional as F

from edge import answer_terms
from edge.answer_terms import AnswerTerm, LossTerm
from edge.config import Config
from shared.protocol import LABEL


def knockoff_loss(student_BK: torch.Tensor, teacher_BK: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the student with softmax(T), a mean over the batch."""
    return F.cross_entropy(student_BK, teacher_BK.softmax(1))


def answer_term(config: Config, output: str, classes: int) -> AnswerTerm:
    """The knockoff loss, or cross-entropy where only the class is known."""
    return answer_terms.answer_term(config, output, classes) if output == LABEL else LossTerm(knockoff_loss)
