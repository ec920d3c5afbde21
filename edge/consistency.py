"""What the device's private images can teach without being sent: a student is to be consistent on them.

An averaged student (mean teacher, Tarvainen and Valpola, NeurIPS 2017) looks at a private image; where it is sure of
a class, the student has to find that class in a changed copy (FixMatch, Sohn et al., NeurIPS 2020):

    L_C = mean( [max_k p_k >= threshold * surest] * -log softmax(S(changed x))_c ),
    p = softmax(average(x)), c = argmax p

`surest` is what the answers let a student be: 1, or with smoothed labels the 1 - s + s / K that they teach, 0.91 of
10 classes with s = 0.1. Measured by 1, a threshold of 0.9 would leave out images of which it is as sure as it can be.

The paid images are generated, and the images that a student will meet are real: the private ones are the only real
ones at hand. Nothing is asked and nothing leaves the device. As in FixMatch the copy may be changed strongly
(`Distillation.consistency_tilt`): that of a paid image has to keep the teacher's whole answer, this one its class.

Shapes: N private images, B batch, K classes, C channels, H height, W width.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import swa_utils

from edge.config import Distillation
from edge.transfer_set.journal import Images
from shared import compute, pixels
from shared.recorded import Recorded


class ConsistencyTerm:
    """Draws private images, and judges the student's logits to changed copies of them."""

    def __init__(self, student: nn.Module, private: Images, config: Distillation, surest: float) -> None:
        self.average = AverageStudent(student, config.average)
        self.passes = Recorded(self.average.model)
        self.threshold = config.consistency_threshold * surest
        self.private_NCHW = torch.from_numpy(private).to(compute.device())
        self.probability_BK = torch.empty(0)

    @torch.no_grad()
    def draw(self, count: int, rng: torch.Generator) -> torch.Tensor:
        """Float images [B, C, H, W]; what the averaged student thinks of them is kept for the call."""
        pick_B = torch.randint(len(self.private_NCHW), (count,), generator=rng).to(self.private_NCHW.device)
        x_BCHW = pixels.to_float(self.private_NCHW[pick_B])
        logits_BK = self.passes(x_BCHW.contiguous(memory_format=torch.channels_last))
        self.probability_BK = logits_BK.softmax(1)
        return x_BCHW

    def __call__(self, logits_BK: torch.Tensor) -> torch.Tensor:
        """L_C of the student's logits to changed copies of the images drawn last."""
        return consistency_loss(logits_BK, self.probability_BK, self.threshold)


def consistency_loss(logits_BK: torch.Tensor, probability_BK: torch.Tensor, threshold: float) -> torch.Tensor:
    """L_C; an image of which nobody is sure counts as 0, so that the mean is over the batch."""
    sure_B, class_B = probability_BK.max(1)
    return (F.cross_entropy(logits_BK, class_B, reduction="none") * (sure_B >= threshold)).mean()


class AverageStudent:
    """Exponential moving average of a student, batch-norm statistics included; follows closely at first."""

    def __init__(self, student: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(student).eval().requires_grad_(False)
        self.decay = decay
        self._ours, self._theirs = _floats(self.model), _floats(student)

    @torch.no_grad()
    def update(self, done: int) -> None:
        """Move towards the student after step `done`."""
        share = max(1 - self.decay, 10 / (done + 10))
        swa_utils.get_ema_multi_avg_fn(1 - share)(self._ours, self._theirs, done)  # type: ignore[no-untyped-call]


def _floats(model: nn.Module) -> list[torch.Tensor]:
    return [value for value in model.state_dict().values() if value.is_floating_point()]
