"""What updates a student, and how its learning rate goes over the steps."""

import math
from collections.abc import Callable

import torch
from torch import nn

from edge.config import Distillation

WARM_UP = 0.1
MOMENTUM = 0.9
DROP, PARTS = 0.1, 3
"""SGD's learning rate falls to a tenth after each third of the steps, as in the code released with the paper."""

Schedule = Callable[[int, int], float]
"""Steps done and in all -> share of the peak learning rate."""


def optimizer(student: nn.Module, config: Distillation) -> tuple[torch.optim.Optimizer, Schedule]:
    """The optimiser of the student's parameters, and its schedule."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(student.parameters(), rate, MOMENTUM, weight_decay=decay), thirds
    return torch.optim.AdamW(student.parameters(), rate, weight_decay=decay), warmed_up_cosine


def warmed_up_cosine(done: int, steps: int) -> float:
    """A linear warm-up, then half a cosine to zero."""
    progress = (done + 1) / steps
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def thirds(done: int, steps: int) -> float:
    """A tenth after each third of the steps."""
    return float(DROP ** (PARTS * done // steps))
