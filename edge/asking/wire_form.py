"""How one server wants a question to be put: names, datatype, binary or JSON. Open Inference servers differ in these.

`TeacherClient` speaks of `images`, `logits`, `probabilities` and `label`; this is where they become the server's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.asking.served_model import MEANINGS, TOLD, ServedModel, our_input, our_output
from shared.codec import DATATYPES, Message, encode_request
from shared.errors import ForeignAnswer, InvalidConfig
from shared.protocol import IMAGES, LABEL, ModelMetadata, TensorMetadata

REAL = "FP32"
INPUT_DATATYPES = ("UINT8", REAL)


@dataclass(frozen=True)
class WireForm:
    """What a question to one model looks like; the defaults are those of our own server."""

    model: ServedModel
    input: str = IMAGES
    datatype: str = "UINT8"
    outputs: Mapping[str, str] = field(default_factory=lambda: {meaning: meaning for meaning in MEANINGS})
    """By meaning, the server's name."""
    binary: bool = True

    def encode(self, images: NDArray[np.uint8], output: str) -> Message:
        """The question for `output` about `images` uint8 [N, C, H, W]."""
        pixels = self.model.pixels(images, real=self.datatype == REAL)
        return encode_request(
            pixels, self.outputs[output], name=self.input, datatype=self.datatype, binary=self.binary
        )

    def pick(self, answered: Mapping[str, NDArray[Any]], output: str) -> NDArray[Any]:
        """The values that mean `output`.

        Raises:
            ForeignAnswer: they are not among those `answered`.
        """
        name = self.outputs[output]
        if name not in answered:
            raise ForeignAnswer(f"The server was asked for '{name}' and answered {sorted(answered) or 'nothing'}.")
        return answered[name]


def learn(metadata: ModelMetadata, model: ServedModel, *, binary: bool) -> tuple[WireForm, ModelMetadata]:
    """The form that a server wants, and its metadata in our words: `images` [-1, C, H, W] and what outputs mean.

    A shape without a batch axis, as of a model in Triton that batches by itself, is one of a single image; questions
    have the axis all the same.

    Raises:
        InvalidConfig: the model takes no image, or needs a flag to be understood.
    """
    taken = _image_input(metadata)
    model.checked_range(real=taken.datatype == REAL)
    offered = {tensor.name: tensor for tensor in metadata.outputs}
    outputs = _fitting(model.meanings(list(offered)), offered)
    form = WireForm(model, taken.name, taken.datatype, outputs, binary)
    ours = metadata.model_copy(
        update={
            "inputs": [our_input(*taken.shape[-3:])],
            "outputs": [our_output(meaning, offered[name].shape) for meaning, name in outputs.items()],
            "parameters": metadata.parameters | {TOLD: model.flags()},
        }
    )
    return form, ours


def _image_input(metadata: ModelMetadata) -> TensorMetadata:
    named = {tensor.name: tensor for tensor in metadata.inputs}
    taken = named.get(IMAGES) or (metadata.inputs[0] if len(named) == 1 else None)
    if taken is None:
        raise InvalidConfig(
            f"The model '{metadata.name}' takes {', '.join(named) or 'nothing that its metadata tell'}; one input is "
            f"needed, or one named '{IMAGES}'. Have its server describe the model so, or write an adapter."
        )
    if taken.datatype not in INPUT_DATATYPES or len(taken.shape) not in (3, 4):
        raise InvalidConfig(
            f"Input '{taken.name}' of the model '{metadata.name}' is {taken.datatype} {taken.shape}; "
            f"{' or '.join(INPUT_DATATYPES)} [N, C, H, W] is needed. Serve it so, or write an adapter."
        )
    return taken


def _fitting(outputs: Mapping[str, str], offered: Mapping[str, TensorMetadata]) -> dict[str, str]:
    """Those of `outputs` whose datatype can be what they mean."""
    datatypes = {meaning: _datatypes(meaning) for meaning in outputs}
    fitting = {meaning: name for meaning, name in outputs.items() if offered[name].datatype in datatypes[meaning]}
    if not fitting:
        meaning, name = next(iter(outputs.items()))
        raise InvalidConfig(
            f"Output '{name}' is {offered[name].datatype}, which cannot be {meaning}: "
            f"{', '.join(datatypes[meaning])} can. Choose another output or meaning with --teacher-output."
        )
    return fitting


def _datatypes(meaning: str) -> list[str]:
    kinds = "iu" if meaning == LABEL else "f"
    return [name for name, dtype in DATATYPES.items() if dtype.kind in kinds]
