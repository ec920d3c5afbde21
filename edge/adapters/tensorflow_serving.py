"""TensorFlow Serving's REST predict API as a teacher: `--adapter edge.adapters.tensorflow_serving:TensorFlowServing`.

    GET  /v1/models/NAME/metadata     inputs and outputs of the signature `serving_default`
    POST /v1/models/NAME:predict      {"instances": [image, ...]} -> {"predictions": [row, ...]}

An image travels as nested lists [H, W, C], TensorFlow's layout. With one output a prediction is its values, with
several an object of them by name. The API has neither meter nor idempotency keys: `usage` is None, `ask` cannot send
its key, and an answer that is lost on the way is computed, and may be charged, once more.
"""

import json
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray

from edge.asking.exchange import Exchange
from edge.asking.served_model import TOLD, ServedModel, our_input, our_output
from edge.asking.teacher import Reply, checked_values
from edge.asking.wire_bytes import counted
from shared.errors import ForeignAnswer, InvalidConfig
from shared.protocol import LABEL, ModelMetadata, Usage

SIGNATURE = "serving_default"
PIXELS, REAL = "DT_UINT8", "DT_FLOAT"


class TensorFlowServing:
    """One model of one server; see `edge.adapters` for what its parts are for."""

    def __init__(self, exchange: Exchange, model: ServedModel) -> None:
        self._exchange, self._model = exchange, model
        self._path = f"/v1/models/{quote(model.name, safe='')}"
        self._takes_real = False
        self._outputs: dict[str, str] = {}

    def metadata(self) -> ModelMetadata:
        """What the signature `serving_default` takes and gives, in our names.

        Raises:
            InvalidConfig: it takes no image, or a flag is needed to understand it.
            Unreachable, ForeignAnswer, ApiError: as `Exchange.get`.
        """
        response = self._exchange.get(f"{self._path}/metadata")
        try:
            signature = response.json()["metadata"]["signature_def"]["signature_def"][SIGNATURE]
            inputs = [(tensor["dtype"], _shape(tensor)) for tensor in signature["inputs"].values()]
            outputs = {name: _shape(tensor) for name, tensor in signature["outputs"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._foreign(response) from None
        images = [shape for datatype, shape in inputs if datatype in (PIXELS, REAL) and len(shape) == 4]
        if len(inputs) != 1 or not images:
            raise InvalidConfig(
                f"The model '{self._model.name}' takes {inputs}; one input {PIXELS} or {REAL} [N, H, W, C] is needed."
            )
        _, height, width, channels = images[0]
        self._takes_real = inputs[0][0] == REAL
        self._model.checked_range(real=self._takes_real)
        self._outputs = self._model.meanings(list(outputs))
        return ModelMetadata(
            name=self._model.name,
            inputs=[our_input(channels, height, width)],
            outputs=[our_output(meaning, outputs[name]) for meaning, name in self._outputs.items()],
            parameters={TOLD: self._model.flags()},
        )

    def usage(self) -> Usage | None:
        """Nobody counts."""
        return None

    def ask(self, images: NDArray[np.uint8], output: str, key: str) -> Reply:
        """The `output` for `images` uint8 [N, C, H, W]; `key` has no place in this API.

        Raises:
            Unreachable, ForeignAnswer, ApiError: as `Exchange.post`.
        """
        pixels = self._model.pixels(images, real=self._takes_real).transpose(0, 2, 3, 1)
        question = {"signature_name": SIGNATURE, "instances": pixels.tolist()}
        body = json.dumps(question, separators=(",", ":")).encode()
        with counted() as traffic:
            response = self._exchange.post(f"{self._path}:predict", body, {"Content-Type": "application/json"})
        try:
            rows = response.json()["predictions"]
            name, datatype = self._outputs[output], None if output == LABEL else np.float64
            values = np.array([row[name] if isinstance(row, dict) else row for row in rows], datatype)
        except (ValueError, KeyError, TypeError):
            raise self._foreign(response) from None
        return Reply(checked_values(values, output, len(images)), traffic.up, traffic.down, replayed=False)

    def _foreign(self, response: httpx.Response) -> ForeignAnswer:
        return self._exchange.foreign(f"an answer of another form at {response.url.path}")


def _shape(tensor: dict[str, Any]) -> list[int]:
    """Sizes are written as text; an unknown rank has none."""
    return [int(axis["size"]) for axis in tensor["tensor_shape"].get("dim", [])]
