"""Tensors to bytes and back: both forms of a message of the Open Inference Protocol.

- *binary tensor data extension* (the default of our client): a JSON header whose length is in the HTTP
  header `Inference-Header-Content-Length`, then the tensors' bytes, little-endian, row-major;
- *JSON*: the tensors' values inside the JSON, flat or nested, for curl.

Sizes are checked with Python integers, in a fixed order, before anything is allocated. Decoding raises
`InvalidRequest` for what a client sent and `ForeignAnswer` for what a server sent.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from shared.errors import ForeignAnswer, InvalidRequest
from shared.protocol import HEADER_LENGTH, IMAGES, OUTPUT_DATATYPE, RequestHeader, ResponseHeader, Tensor

DATATYPES: dict[str, np.dtype[Any]] = {
    "UINT8": np.dtype("u1"),
    "FP32": np.dtype("<f4"),
    "INT64": np.dtype("<i8"),
    # only other servers answer with these
    "FP16": np.dtype("<f2"),
    "FP64": np.dtype("<f8"),
    "INT32": np.dtype("<i4"),
}

Array = NDArray[Any]


class Message(NamedTuple):
    """An encoded body and, in binary form, the length of its JSON header in bytes."""

    body: bytes
    header_length: int | None

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers that describe this body."""
        if self.header_length is None:
            return {"Content-Type": "application/json"}
        return {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(self.header_length)}


@dataclass(frozen=True)
class InferRequest:
    """A decoded request: images uint8 [N, C, H, W] and, by name, whether each output is wanted in binary.

    `outputs` is empty where the client left the choice to the server; `binary` is the form for that case.
    """

    images: NDArray[np.uint8]
    outputs: Mapping[str, bool]
    binary: bool
    id: str


def encode_request(
    images: Array, output: str, *, name: str = IMAGES, datatype: str = "UINT8", id: str = "", binary: bool = True
) -> Message:
    """Encode one question about `images` [N, C, H, W], whose values fit `datatype`; `name` is the input's."""
    wanted = {"name": output, "parameters": {"binary_data": True}} if binary else {"name": output}
    values = np.asarray(images, DATATYPES[datatype])
    return _encode({"id": id, "outputs": [wanted]}, "inputs", {name: (values, datatype, binary)})


def encode_response(model: str, version: str, tensors: Mapping[str, tuple[Array, bool]], *, id: str = "") -> Message:
    """Encode the answer: by output name, the values and whether they travel in binary form."""
    described = {name: (values, OUTPUT_DATATYPE[name], binary) for name, (values, binary) in tensors.items()}
    return _encode({"model_name": model, "model_version": version, "id": id}, "outputs", described)


def _encode(header: dict[str, Any], field: str, tensors: Mapping[str, tuple[Array, str, bool]]) -> Message:
    described, blobs = [], []
    for name, (values, datatype, binary) in tensors.items():
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        if binary:
            blobs.append(np.ascontiguousarray(values, DATATYPES[datatype]).tobytes())
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = _json_numbers(values)
        described.append(tensor)
    text = _dump(header | {field: described})
    return Message(b"".join([text, *blobs]), len(text) if blobs else None)


def _json_numbers(values: Array) -> list[Any]:
    """Flat values; single precision with as few digits as give it back, half of what double precision would write."""
    flat = values.ravel()
    if flat.dtype == np.float32:
        few_digits = flat.astype(np.str_).astype(np.float64)
        if (few_digits.astype(np.float32) == flat).all():
            flat = few_digits
    return list(flat.tolist())


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def decode_request(body: bytes, header_length: str | None) -> InferRequest:
    """Decode what a client sent; `header_length` is the HTTP header as it came.

    Raises:
        InvalidRequest: anything that is not one UINT8 tensor `images` [N, C, H, W] with N >= 1.
    """
    try:
        text, blob = _split(body, header_length)
        header = RequestHeader.model_validate_json(text)
        if [tensor.name for tensor in header.inputs] != [IMAGES]:
            raise _Malformed(f"expected one input named '{IMAGES}'")
        tensor = header.inputs[0]
        if tensor.datatype != "UINT8":
            raise _Malformed(f"input '{IMAGES}' must have datatype UINT8")
        if len(tensor.shape) != 4:
            raise _Malformed(f"input '{IMAGES}' must have a shape [N, C, H, W], not {tensor.shape}")
        (images,) = _tensors([tensor], blob)
    except _Malformed as error:
        raise InvalidRequest(f"Invalid request: {error}.") from None
    except ValidationError as error:
        raise InvalidRequest(f"Invalid request: {_first(error)}.") from None
    default = header.parameters.get("binary_data_output") is True
    outputs = {o.name: o.parameters.get("binary_data", default) is True for o in header.outputs}
    return InferRequest(images, outputs, default, header.id)


def decode_response(body: bytes, header_length: str | None) -> dict[str, Array]:
    """Decode what a server answered, by output name.

    Raises:
        ForeignAnswer: the body is not a response of the protocol.
    """
    try:
        text, blob = _split(body, header_length)
        header = ResponseHeader.model_validate_json(text)
        return dict(zip((o.name for o in header.outputs), _tensors(header.outputs, blob), strict=True))
    except _Malformed as error:
        raise ForeignAnswer(f"The server's answer cannot be read: {error}.") from None
    except ValidationError as error:
        raise ForeignAnswer(f"The server's answer cannot be read: {_first(error)}.") from None


class _Malformed(Exception):
    """Says what is wrong, in words that fit after 'Invalid request: '."""


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit()) or len(header_length) > 12:
        raise _Malformed(f"{HEADER_LENGTH} must be a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise _Malformed(f"{HEADER_LENGTH} says {length} bytes, the body has {len(body)}")
    return body[:length], memoryview(body)[length:]


def _tensors(tensors: Sequence[Tensor], blob: memoryview) -> list[Array]:
    """Values of every tensor; binary ones follow each other in `blob`, which must be used up exactly."""
    values, offset = [], 0
    for tensor in tensors:
        dtype = DATATYPES.get(tensor.datatype)
        if dtype is None:
            raise _Malformed(f"tensor '{tensor.name}' has a datatype other than {', '.join(DATATYPES)}")
        count = math.prod(tensor.shape)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values.append(_from_json(tensor, dtype, count))
            continue
        if tensor.data is not None:
            raise _Malformed(f"tensor '{tensor.name}' has both 'data' and 'binary_data_size'")
        if type(size) is not int or size != count * dtype.itemsize:
            raise _Malformed(f"tensor '{tensor.name}' of shape {tensor.shape} needs {count * dtype.itemsize} bytes")
        if offset + size > len(blob):
            raise _Malformed(f"the binary part has {len(blob)} bytes, at least {offset + size} are needed")
        values.append(np.frombuffer(blob[offset : offset + size], dtype).reshape(tensor.shape))
        offset += size
    if offset != len(blob):
        raise _Malformed(f"{len(blob) - offset} bytes are left over after the last tensor")
    return values


def _from_json(tensor: Tensor, dtype: np.dtype[Any], count: int) -> Array:
    if tensor.data is None:
        raise _Malformed(f"tensor '{tensor.name}' has neither 'data' nor 'binary_data_size'")
    flat = _flatten(tensor.data, count, tensor.name)
    if len(flat) != count:
        raise _Malformed(f"tensor '{tensor.name}' of shape {tensor.shape} needs {count} values, not {len(flat)}")
    if dtype.kind == "f":
        numbers = _real_numbers(flat, dtype)
        if numbers is None:
            raise _Malformed(f"tensor '{tensor.name}' must hold finite numbers that fit {tensor.datatype}")
        return numbers.reshape(tensor.shape)
    limits = np.iinfo(dtype)
    if not all(type(value) is int and limits.min <= value <= limits.max for value in flat):
        raise _Malformed(f"tensor '{tensor.name}' must hold integers from {limits.min} to {limits.max}")
    return np.array(flat, dtype).reshape(tensor.shape)


def _real_numbers(flat: list[Any], dtype: np.dtype[Any]) -> Array | None:
    """The values, rounded to `dtype`; None where one is no number, or is not finite *after* rounding.

    Written with few digits, the largest float32 is 3.4028235e+38, which is a little more than itself.
    """
    if not all(type(value) in (int, float) for value in flat):
        return None
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(flat, np.float64).astype(dtype)
    except OverflowError:  # an integer of more than 308 digits
        return None
    return numbers if np.isfinite(numbers).all() else None


def _flatten(data: list[Any], limit: int, name: str) -> list[Any]:
    """Row-major values of flat or nested lists; at most one more than `limit`, so that work stays bounded."""
    flat: list[Any] = []
    stack = [iter(data)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                if len(stack) >= 8:
                    raise _Malformed(f"tensor '{name}' is nested too deeply")
                stack.append(iter(item))
                break
            flat.append(item)
            if len(flat) > limit:
                return flat
        else:
            stack.pop()
    return flat


def _first(error: ValidationError) -> str:
    """Where the first problem is and what it is, never the offending value."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"]) or "JSON header"
    return f"{place}: {problem['msg']}"
