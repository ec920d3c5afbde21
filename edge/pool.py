"""What a run's pool looks like: answers by class, and whether the generator inverts the mapping.

Shapes: N stored pairs, K classes.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from edge import deprivatization, distillation
from edge.answers import labels, target_latents, target_logits
from edge.config import Config
from edge.gan import Generator
from edge.journal import TransferSet
from shared import metrics, pixels


def describe(pairs: TransferSet, generator: Generator, student: nn.Module, config: Config) -> dict[str, Any]:
    """Facts about the pool, for `results.json`.

    `inverse_fidelity` is the share of stored answers whose class the student finds again in G(T(x')/tau). The student
    stands in for the teacher, because asking the teacher would cost queries.
    """
    K = generator.project.in_features
    answers = torch.from_numpy(np.array(pairs.answers))
    label_N = labels(answers, pairs.output)
    z_NK = target_latents(target_logits(answers, pairs.output, K), pairs.output, config.distillation.temperature)
    inverted = pixels.from_array(deprivatization.generate(generator, z_NK))
    return {
        "pairs": len(pairs),
        "answers_by_class": torch.bincount(label_N, minlength=K).tolist(),
        "inverse_fidelity": metrics.accuracy(distillation.predict(student, inverted), label_N),
    }
