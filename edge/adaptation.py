"""Forward-only adaptation: the student's batch-norm statistics re-estimated on unlabelled images, without a gradient.

A student that learnt from generated images keeps their mean and variance in its batch norms, and meets real images.
What an inference runtime can do about that is forward passes. AdaBN (Li et al., 2016) takes the statistics of the
images that it meets; Schneider et al. (NeurIPS 2020) mix them with the source's, as if these came from p further
images, the *prior strength*:

    mean = p / (p + n) mean_source + n / (p + n) mean_target        and the same for the variance

with n target images. p = 0 forgets the source, p = infinity the target. No weight changes, and nobody is asked.

`adapt` does it once, on images that the device has; what comes back is a student like any other, and may be kept.
`predict_adapting` is *transductive*: the batch that is to be classified is the one adapted to, so an answer depends
on the images beside it, and there is no student to keep. Both take for granted that the images come mixed as they
will be met: statistics of one class at a time hide what tells that class from others. And statistics differ where
classes come in other shares than in the source, which is no reason to follow them: on images like the student's own
adaptation may cost accuracy. What it is for is a device that sees otherwise: another light, another camera.

Shapes: N images, B batch, M batches, C channels, H height, W width, K classes.
"""

import copy
from typing import Any

import torch
from torch import nn

from edge.distillation import predict
from shared import pixels, seeding
from shared.datasets import Images
from shared.errors import InvalidConfig

STAGE = "adaptation"
PRIOR_STRENGTH = 16.0
"""A few per cent of the mixture beside hundreds of images, and half of it beside as many."""
LARGEST_BATCH = 512
"""Images in one pass: as many as fit a small memory, and enough for statistics of their own."""
STREAM_BATCH = 64
"""Images that are classified together, where each batch is adapted to."""


def adapt(
    student: nn.Module, images: Images, prior_strength: float = PRIOR_STRENGTH, batch: int = LARGEST_BATCH
) -> nn.Module:
    """A copy of `student`, in evaluation mode, whose batch norms know `images`; the student itself is not touched.

    One pass, in a drawn order. Within it a batch norm normalises by the batch's own statistics, mixed, so that those
    behind it see what they will see afterwards: exactly where all images are one batch, nearly where they are many.

    Args:
        student: any network with `BatchNorm2d`.
        images: uint8 [N, C, H, W], unlabelled.
        prior_strength: images that the student's own statistics count as, 0 to infinity.
        batch: most images in memory at once.

    Raises:
        InvalidConfig: no batch norm, no images, or a prior strength that is none.
    """
    adapted = copy.deepcopy(student).eval()
    norms = [norm for norm in adapted.modules() if isinstance(norm, nn.BatchNorm2d) and norm.track_running_stats]
    if not norms:
        raise InvalidConfig(
            "This student has no batch norm, so it has no statistics that could be adapted. "
            "Use it as it is, or distil one that has: resnet8 and the other students for small images."
        )
    share, device = target_share(prior_strength, len(images)), next(adapted.parameters()).device
    estimates = [_Estimate(norm, share) for norm in norms]
    with torch.no_grad():
        for pick_B in _batches(len(images), batch):
            adapted(pixels.from_array(images[pick_B.numpy()]).to(device))
        for estimate in estimates:
            estimate.settle()
    return adapted


def predict_adapting(
    student: nn.Module, images: Images, prior_strength: float = PRIOR_STRENGTH, batch: int = STREAM_BATCH
) -> torch.Tensor:
    """Logits [N, K], on the CPU, each by a student adapted to the batch that its image is in.

    Batches are drawn, because test images often lie in the order of their classes.

    Raises:
        InvalidConfig: as `adapt`.
    """
    picks, parts = _batches(len(images), batch), []
    for pick_B in picks:
        x = images[pick_B.numpy()]
        parts.append(predict(adapt(student, x, prior_strength), x))
    logits_NK = torch.cat(parts)
    return torch.empty_like(logits_NK).index_copy_(0, torch.cat(picks), logits_NK)


def target_share(prior_strength: float, images: int) -> float:
    """How much of the mixed statistics is the target's: n / (p + n).

    Raises:
        InvalidConfig: no images, or a prior strength that is none.
    """
    if not prior_strength >= 0:  # nor is it NaN
        raise InvalidConfig(f"A prior strength is a number of images, 0 or more (given: {prior_strength}).")
    if images == 0:
        raise InvalidConfig("There are no images to adapt to. Name a folder that holds some.")
    return images / (prior_strength + images)


def _batches(count: int, most: int) -> list[torch.Tensor]:
    """Drawn indices in batches of at most `most`, as equal as can be: a small rest would know little."""
    order_N = torch.randperm(count, generator=seeding.rng(0, STAGE))
    return list(torch.tensor_split(order_N, max(1, -(-count // most))))


class _Estimate:
    """Looks at what one batch norm is given: sets its statistics for every batch, and in the end those of all."""

    def __init__(self, norm: nn.BatchNorm2d, share: float) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.mean_C, self.var_C, self.share = norm.running_mean, norm.running_var, share
        self.source_mean_C, self.source_var_C = self.mean_C.clone(), self.var_C.clone()
        self.pixels: list[float] = []
        self.mean_MC: list[torch.Tensor] = []
        self.var_MC: list[torch.Tensor] = []
        self._hook = norm.register_forward_pre_hook(self._look)

    def settle(self) -> None:
        """Leave the mixed statistics of all batches, between which the mean varies too."""
        self._hook.remove()
        if not self.pixels:  # a branch that only training takes
            return
        mean_MC, var_MC = torch.stack(self.mean_MC), torch.stack(self.var_MC)
        weight_M1 = mean_MC.new_tensor(self.pixels)[:, None] / sum(self.pixels)
        mean_C = (weight_M1 * mean_MC).sum(0)
        self._mix(mean_C, (weight_M1 * (var_MC + (mean_MC - mean_C) ** 2)).sum(0))

    def _look(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        (x_BCHW,) = inputs
        var_C, mean_C = torch.var_mean(x_BCHW, (0, 2, 3), correction=0)
        self.pixels.append(x_BCHW.numel() / len(mean_C))
        self.mean_MC.append(mean_C)
        self.var_MC.append(var_C)
        self._mix(mean_C, var_C)

    def _mix(self, mean_C: torch.Tensor, var_C: torch.Tensor) -> None:
        self.mean_C.copy_(self.source_mean_C.lerp(mean_C, self.share))
        self.var_C.copy_(self.source_var_C.lerp(var_C, self.share))
