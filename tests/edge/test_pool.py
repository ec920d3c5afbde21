import numpy as np
import pytest
import torch
from torch import nn

from edge.gan import Generator
from edge.pool import describe
from edge.transfer_set.journal import TransferSet
from shared.protocol import LABEL, LOGITS
from tests.edge.small import K, digits, small_config


class Constant(nn.Module):
    """A student that says `label`, whatever it sees."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.logits_K = nn.Parameter(nn.functional.one_hot(torch.tensor(label), K).float())

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.logits_K.expand(len(x_BCHW), K)


@pytest.mark.parametrize("output", [LOGITS, LABEL])
def test_the_inverse_fidelity_is_the_share_of_answers_whose_class_is_found_again(output: str) -> None:
    labels = np.repeat([0, 3, 7], [5, 3, 12])
    answers = labels if output == LABEL else np.eye(K, dtype=np.float32)[labels]
    pairs = TransferSet(digits().images[:20], answers, output)
    generator = Generator(K, (1, 8, 8), width=8).eval()
    for label, share in ((7, 12 / 20), (3, 3 / 20), (1, 0)):
        facts = describe(pairs, generator, Constant(label), small_config(), K)
        assert facts["inverse_fidelity"] == pytest.approx(share)
    assert facts["pairs"] == 20 and facts["answers_by_class"] == [5, 0, 0, 3, 0, 0, 0, 12, 0, 0]
