"""What a run's pool looks like: answers by class, and whether the generator inverts the mapping.

Shapes: N stored pairs, K classes.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from edge import deprivatization, distillation
from edge.answers import labels, target_latents, target_logits
from edge.config import OFFICIAL, Config
from edge.gan import Generator
from edge.transfer_set.journal import TransferSet
from shared import metrics

SAMPLE = 1000
"""Answers, evenly spread over the pool, that `inverse_fidelity` is counted on at least: it is known to 3 points then.
Of a pool that has fewer, all are."""


def describe(
    pairs: TransferSet, generator: Generator | None, student: nn.Module, config: Config, classes: int
) -> dict[str, Any]:
    """Facts about the pool, for `results.json`.

    `inverse_fidelity` is the share of a sample of the stored answers whose class the student finds again in
    G(T(x')/tau). The student stands in for the teacher, because asking the teacher would cost queries. Without a
    generator there is none.
    """
    answers = torch.from_numpy(np.array(pairs.answers))
    label_N = labels(answers, pairs.output)
    facts: dict[str, Any] = {
        "pairs": len(pairs),
        "answers_by_class": torch.bincount(label_N, minlength=classes).tolist(),
    }
    if generator is not None:
        sample = slice(None, None, max(1, len(answers) // SAMPLE))
        target_NK = target_logits(answers[sample], pairs.output, classes)
        tau = config.distillation.temperature
        raw = config.method == OFFICIAL  # which takes a one-hot vector for logits
        z_NK = target_NK / tau if raw else target_latents(target_NK, pairs.output, tau)
        inverted = deprivatization.generate(generator, z_NK.to(next(generator.parameters()).device))
        facts["inverse_fidelity"] = metrics.accuracy(distillation.predict(student, inverted), label_N[sample])
    return facts
