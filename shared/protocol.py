"""The wire: Open Inference Protocol v2 (KServe, Triton), for one classifier that takes uint8 images.

One tensor `images` UINT8 [N, C, H, W] goes up; `logits` or `probabilities` FP32 [N, K], or `label` INT64 [N], come
down. Here are the names and the JSON documents; `shared/codec.py` makes them bytes and back.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.errors import ForeignAnswer

IMAGES = "images"
LOGITS, PROBABILITIES, LABEL = "logits", "probabilities", "label"
HEADER_LENGTH = "Inference-Header-Content-Length"
IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"
BINARY_EXTENSION = "binary_tensor_data"

PLATFORM = "mekd"
"""What metadata of our own server's models say."""
OUTPUT_DATATYPE = {LOGITS: "FP32", PROBABILITIES: "FP32", LABEL: "INT64"}

Dimension = Annotated[int, Field(ge=1, le=2**31 - 1)]
Parameters = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
"""KServe and MLServer write null where there are none."""


class Wire(BaseModel):
    """A JSON object of the protocol; members that we do not know are allowed and ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Tensor(Wire):
    """A tensor in a request or a response: described here, its values in `data` or in the binary part."""

    name: str
    datatype: str
    shape: list[Dimension] = Field(max_length=8)
    parameters: Parameters = {}
    data: list[Any] | None = None


class RequestedOutput(Wire):
    """An output that the client asks for; the parameter `binary_data` chooses its form."""

    name: str
    parameters: Parameters = {}


class RequestHeader(Wire):
    """JSON part of an inference request."""

    id: str = Field(default="", max_length=256)
    parameters: Parameters = {}
    inputs: list[Tensor] = Field(min_length=1, max_length=8)
    outputs: list[RequestedOutput] = Field(default=[], max_length=8)


class ResponseHeader(Wire):
    """JSON part of an inference response."""

    model_name: str
    model_version: str | None = None
    id: str | None = None
    outputs: list[Tensor]


class ServerMetadata(Wire):
    """Answer of `GET /v2`."""

    extensions: list[str] | None = None


class TensorMetadata(Wire):
    """Name, datatype and shape of a model's input or output; -1 stands for the batch, or for any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(Wire):
    """Answer of `GET /v2/models/{model}`: what the model takes, and what *this key* may see."""

    name: str
    versions: list[str] | None = []
    platform: str = ""
    inputs: list[TensorMetadata] = []
    outputs: list[TensorMetadata] = []
    parameters: Parameters = {}
    """Beyond the protocol, as MLServer has them; ours hold `classes`, which the shape of `label` does not tell."""

    def classes(self) -> int | None:
        """Number of classes K, None where the server does not say."""
        widths = (output.shape[-1] for output in self.outputs if output.name in (LOGITS, PROBABILITIES))
        told = self.parameters.get("classes", max(widths, default=None))
        return told if type(told) is int and told > 0 else None

    def richest_output(self) -> str:
        """The output that tells most about the teacher, of those that we understand.

        Raises:
            ForeignAnswer: there is none.
        """
        names = [tensor.name for tensor in self.outputs]
        for name in (LOGITS, PROBABILITIES, LABEL):
            if name in names:
                return name
        raise ForeignAnswer(
            f"The model '{self.name}' offers {', '.join(names) or 'no output'}; "
            f"{LOGITS}, {PROBABILITIES} or {LABEL} is needed."
        )


class Usage(Wire):
    """Answer of `GET /v1/usage`; all counts are images, and 1 image is 1 query."""

    client: str
    budget: int
    spent: int
    remaining: int
    policy: str
    images_per_minute: int
    images_per_request: int
    expires: str | None = None
