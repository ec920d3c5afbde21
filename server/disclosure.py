"""Response policy: what a key may see of the teacher's answer.

Shapes: N images, K classes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidRequest, OutputNotAllowed
from shared.protocol import LABEL, LOGITS, PROBABILITIES

POLICIES = {
    "logits": (LOGITS, PROBABILITIES, LABEL),
    "probabilities": (PROBABILITIES, LABEL),
    "top1": (LABEL,),
}
"""Outputs that each policy discloses, the richest first."""


def choose_outputs(policy: str, wanted: Mapping[str, bool], binary: bool) -> dict[str, bool]:
    """Outputs to send, by name, and whether each is sent in binary; where none is `wanted`, the richest allowed.

    Raises:
        InvalidRequest: no model output has such a name.
        OutputNotAllowed: the policy does not disclose it.
    """
    allowed = POLICIES[policy]
    for name in wanted:
        if name not in POLICIES["logits"]:
            raise InvalidRequest(f"There is no output '{name}'. This key may see: {', '.join(allowed)}.")
        if name not in allowed:
            raise OutputNotAllowed(
                f"The policy '{policy}' of this key does not disclose '{name}', only: {', '.join(allowed)}. "
                "Ask for one of these, or the operator for another key."
            )
    return dict(wanted) or {allowed[0]: binary}


def disclose(logits_NK: NDArray[np.float32], outputs: Mapping[str, bool]) -> dict[str, tuple[NDArray[Any], bool]]:
    """Values of the chosen `outputs`, by name, each with its form on the wire (True is binary)."""
    return {name: (_VALUES[name](logits_NK), binary) for name, binary in outputs.items()}


def _softmax(logits_NK: NDArray[np.float32]) -> NDArray[np.float32]:
    exponentials_NK = np.exp(logits_NK.astype(np.float64) - logits_NK.max(1, keepdims=True))
    probabilities_NK: NDArray[np.float64] = exponentials_NK / exponentials_NK.sum(1, keepdims=True)
    return probabilities_NK.astype(np.float32)


_VALUES: dict[str, Callable[[NDArray[np.float32]], NDArray[Any]]] = {
    LOGITS: lambda logits_NK: logits_NK,
    PROBABILITIES: _softmax,
    LABEL: lambda logits_NK: logits_NK.argmax(1),
}
