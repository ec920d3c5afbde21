"""Response policy: what a key may see of the teacher's answer.

    logits            logits, probabilities, label
    probabilities     probabilities, label
    probabilities:3   the same, every probability rounded to 3 decimals
    top5              probabilities of the 5 likeliest classes as they are, 0 for all others; label
    top1              label
    ...+noise0.5      any of the above, from logits to which Gaussian noise of standard deviation 0.5 was added

Noise is a defence: it blurs what a student can learn, and moves the label too where two classes are close. A secret
of the server, the key and the image decide it, so that asking about the same image again gives the same answer and
averages nothing out. Several keys in one hand do average.

Shapes: N images, K classes.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidConfig, InvalidRequest, OutputNotAllowed
from shared.protocol import LABEL, LOGITS, PROBABILITIES

POLICIES = ("logits", "probabilities", "probabilities:3", "top5", "top1", "logits+noise0.5")
"""Examples of every form."""

_FORM = re.compile(
    r"(?P<base>logits|probabilities|top(?P<top>[1-9][0-9]{0,5}))"
    r"(?(top)|(?::(?P<decimals>[1-6]))?)"
    r"(?:\+noise(?P<noise>[0-9]{1,3}(?:\.[0-9]{1,3})?))?",
    re.ASCII,
)

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Policy:
    """A policy, read. `outputs` are what it discloses, the richest first; `noise` is a standard deviation."""

    text: str
    outputs: tuple[str, ...]
    top: int | None = None
    decimals: int | None = None
    noise: float = 0.0

    def choose(self, wanted: Mapping[str, bool], binary: bool) -> dict[str, bool]:
        """Outputs to send, by name, and whether each is sent in binary; where none is `wanted`, the richest allowed.

        Raises:
            InvalidRequest: no model output has such a name.
            OutputNotAllowed: the policy does not disclose it.
        """
        for name in wanted:
            if name not in (LOGITS, PROBABILITIES, LABEL):
                raise InvalidRequest(f"There is no output '{name}'. This key may see: {', '.join(self.outputs)}.")
            if name not in self.outputs:
                raise OutputNotAllowed(
                    f"The policy '{self.text}' of this key does not disclose '{name}', only: "
                    f"{', '.join(self.outputs)}. Ask for one of these, or the operator for another key."
                )
        return dict(wanted) or {self.outputs[0]: binary}

    def disclose(self, logits_NK: Logits, outputs: Mapping[str, bool]) -> dict[str, tuple[NDArray[Any], bool]]:
        """Values of the chosen `outputs`, by name, each with its form on the wire (True is binary)."""
        values: dict[str, Callable[[], NDArray[Any]]] = {
            LOGITS: lambda: logits_NK,
            PROBABILITIES: lambda: self._probabilities(logits_NK),
            LABEL: lambda: logits_NK.argmax(1),
        }
        return {name: (values[name](), binary) for name, binary in outputs.items()}

    def _probabilities(self, logits_NK: Logits) -> NDArray[np.float32]:
        probabilities_NK = _softmax(logits_NK)
        if self.top is not None:
            probabilities_NK = _likeliest(probabilities_NK, self.top)
        if self.decimals is not None:
            probabilities_NK = probabilities_NK.round(self.decimals)
        return probabilities_NK.astype(np.float32)


def parse_policy(text: str) -> Policy:
    """Read a policy as it stands in the ledger.

    Raises:
        InvalidConfig: there is no such policy.
    """
    form = _FORM.fullmatch(text)
    if form is None or (form["decimals"] and form["base"] == "logits"):
        raise InvalidConfig(f"There is no policy '{text}'. Forms: {', '.join(POLICIES)}.")
    top = form["top"] and int(form["top"])
    outputs = {"logits": (LOGITS, PROBABILITIES, LABEL), "top1": (LABEL,)}.get(form["base"], (PROBABILITIES, LABEL))
    return Policy(text, outputs, top or None, int(form["decimals"] or 0) or None, float(form["noise"] or 0))


def add_noise(logits_NK: Logits, images: Images, deviation: float, secret: bytes) -> Logits:
    """Logits with noise that only `secret` and each image's own pixels decide.

    Without the secret the noise cannot be computed and taken off again.
    """
    classes = logits_NK.shape[1]
    seeds = (hmac.digest(secret, image.tobytes(), "sha256") for image in images)
    noise_NK = [np.random.default_rng(int.from_bytes(seed)).standard_normal(classes) for seed in seeds]
    return (logits_NK + deviation * np.array(noise_NK)).astype(np.float32)


def _softmax(logits_NK: Logits) -> NDArray[np.float64]:
    exponentials_NK = np.exp(logits_NK.astype(np.float64) - logits_NK.max(1, keepdims=True))
    probabilities_NK: NDArray[np.float64] = exponentials_NK / exponentials_NK.sum(1, keepdims=True)
    return probabilities_NK


def _likeliest(probabilities_NK: NDArray[np.float64], top: int) -> NDArray[np.float64]:
    """The `top` largest of each row as they are, 0 elsewhere; of equal ones the first."""
    order_NK = np.argsort(-probabilities_NK, axis=1, kind="stable")
    kept_NK = np.zeros_like(probabilities_NK)
    columns = order_NK[:, :top]
    np.put_along_axis(kept_NK, columns, np.take_along_axis(probabilities_NK, columns, 1), 1)
    return kept_NK
