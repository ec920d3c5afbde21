import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shared import codec
from shared.codec import decode_request, decode_response, encode_request, encode_response
from shared.errors import ForeignAnswer, InvalidRequest
from shared.protocol import IMAGES, LABEL, LOGITS, OUTPUT_DATATYPE, PROBABILITIES

images = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, min_side=1, max_side=5))
scores = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
labels = hnp.arrays(np.int64, st.integers(1, 6))
numbers = st.integers() | st.integers(min_value=10**300, max_value=10**310) | st.floats()
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def header_length(message: codec.Message) -> str | None:
    return None if message.header_length is None else str(message.header_length)


@given(images, st.sampled_from([LOGITS, PROBABILITIES, LABEL]), st.booleans(), st.text(max_size=20))
def test_a_request_comes_back_as_it_was(array: Any, output: str, binary: bool, id: str) -> None:
    message = encode_request(array, output, id=id, binary=binary)
    request = decode_request(message.body, header_length(message))
    np.testing.assert_array_equal(request.images, array)
    assert request.images.dtype == np.uint8
    assert (dict(request.outputs), request.id) == ({output: binary}, id)


@given(scores, labels, st.booleans(), st.booleans())
def test_a_response_comes_back_bit_by_bit_in_both_forms(
    logits: Any, label: Any, logits_binary: bool, label_binary: bool
) -> None:
    tensors = {LOGITS: (logits, logits_binary), LABEL: (label, label_binary)}
    message = encode_response("teacher", "1", tensors, id="7")
    decoded = decode_response(message.body, header_length(message))
    assert decoded[LOGITS].tobytes() == logits.tobytes() and decoded[LOGITS].shape == logits.shape
    assert decoded[LABEL].tobytes() == label.tobytes() and decoded[LABEL].shape == label.shape


def test_binary_bodies_describe_themselves_in_headers() -> None:
    message = encode_request(np.zeros((1, 1, 2, 2), np.uint8), LOGITS)
    assert message.headers == {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(message.header_length),
    }
    assert len(message.body) == (message.header_length or 0) + 4
    assert encode_request(np.zeros((1, 1, 2, 2), np.uint8), LOGITS, binary=False).headers == {
        "Content-Type": "application/json"
    }


def test_nested_json_lists_mean_the_same_as_flat_ones() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    for data in (array.tolist(), array.ravel().tolist()):
        np.testing.assert_array_equal(decode_request(ask(data=data, shape=[1, 3, 2, 2]), None).images, array)


def ask(**tensor: Any) -> bytes:
    described = {"name": IMAGES, "datatype": "UINT8", "shape": [1, 1, 1, 2], **tensor}
    return json.dumps({"inputs": [described]}).encode()


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b"[" * 5000, None),
        (b"{}", None),
        (b'{"inputs": []}', None),
        (ask(data=[1]), None),
        (ask(data=[1, 2, 3]), None),
        (ask(data=[1, 256]), None),
        (ask(data=[1, -1]), None),
        (ask(data=[1, 2.0]), None),
        (ask(data=[1, True]), None),
        (ask(data=[1, None]), None),
        (ask(data=[1, "2"]), None),
        (ask(data=[1, 10**400]), None),
        (ask(data=[[[[[[[[[1]]]]]]]], 2]), None),
        (ask(), None),
        (ask(data=[1, 2], name="pixels"), None),
        (ask(data=[1, 2], datatype="FP32"), None),
        (ask(data=[1, 2], datatype="BYTES"), None),
        (ask(data=[1, 2], shape=[2]), None),
        (ask(data=[], shape=[0, 1, 1, 2]), None),
        (ask(data=[1, 2], shape=[-1, 1, 1, 2]), None),
        (ask(data=[1, 2], shape=[1, 1, 1, 2.0]), None),
        (ask(data=[1, 2], shape=[2**31, 1, 1, 2]), None),
        (ask(data=[1, 2], shape=[2**31 - 1] * 4), None),
        (ask(parameters={"binary_data_size": 2}), None),
        (ask(parameters={"binary_data_size": 2}, data=[1, 2]), None),
        (ask(parameters={"binary_data_size": 2.0}) + b"ab", str(len(ask(parameters={"binary_data_size": 2.0})))),
        (ask(parameters={"binary_data_size": True}, shape=[1, 1, 1, 1]) + b"a", "118"),
        (ask(parameters={"binary_data_size": 10**30}, shape=[2**31 - 1] * 4), None),
        (b"{}", "-1"),
        (b"{}", "x"),
        (b"{}", "٣"),
        (b"{}", ""),
        (b"{}", "3"),
        (b"{}", "9" * 5000),
    ],
)
def test_malformed_requests_are_invalid_requests(body: bytes, length: str | None) -> None:
    with pytest.raises(InvalidRequest, match="Invalid request: "):
        decode_request(body, length)


def test_bytes_left_over_and_bytes_missing_are_refused() -> None:
    message = encode_request(np.zeros((1, 1, 2, 2), np.uint8), LOGITS)
    with pytest.raises(InvalidRequest, match="1 bytes are left over"):
        decode_request(message.body + b"x", header_length(message))
    with pytest.raises(InvalidRequest, match="has 3 bytes, at least 4 are needed"):
        decode_request(message.body[:-1], header_length(message))


def test_messages_about_malformed_requests_never_repeat_the_values() -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_request(ask(data=[1, "a secret of the client"], shape=["another secret"]), None)
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=200), st.none() | st.text(max_size=6) | st.integers(0, 200).map(str))
def test_arbitrary_bytes_never_raise_anything_else(body: bytes, length: str | None) -> None:
    with pytest.raises(InvalidRequest):
        decode_request(body, length)
    with pytest.raises(ForeignAnswer):
        decode_response(body, length)


names = st.sampled_from([IMAGES, LOGITS, ""]) | st.text(max_size=4)
datatypes = st.sampled_from(["UINT8", "FP16", "FP32", "FP64", "INT32", "INT64", "BYTES"])
shapes = st.lists(st.integers(-1, 3) | st.sampled_from([2**31 - 1, 2**31]), max_size=9)
parameters = st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | json_values})
tensors = st.fixed_dictionaries(
    {"name": names, "datatype": datatypes, "shape": shapes},
    optional={"parameters": parameters, "data": st.lists(numbers | json_values, max_size=12)},
)
header_parameters = st.fixed_dictionaries({}, optional={"binary_data_output": json_values})
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2)},
    optional={"id": json_values, "parameters": header_parameters, "outputs": json_values},
)
responses = st.fixed_dictionaries({"model_name": st.just("m"), "outputs": st.lists(tensors, max_size=3)})


@given(requests, st.binary(max_size=40))
def test_nearly_right_requests_decode_or_are_invalid(document: Any, blob: bytes) -> None:
    text = json.dumps(document).encode()
    for body, length in ((text, None), (text + blob, str(len(text)))):
        try:
            request = decode_request(body, length)
        except InvalidRequest:
            continue
        assert request.images.dtype == np.uint8 and request.images.ndim == 4 and request.images.size


@given(responses, st.binary(max_size=40))
def test_nearly_right_responses_decode_or_are_foreign(document: Any, blob: bytes) -> None:
    text = json.dumps(document).encode()
    for body, length in ((text, None), (text + blob, str(len(text)))):
        try:
            values = decode_response(body, length)
        except ForeignAnswer:
            continue
        assert all(array.dtype in codec.DATATYPES.values() for array in values.values())


def test_the_largest_float32_comes_back_from_json_and_what_rounds_beyond_it_does_not() -> None:
    largest = np.array([[np.finfo(np.float32).max, np.finfo(np.float32).min, 3.4028233e38, 1e-45]], np.float32)
    message = encode_response("m", "1", {LOGITS: (largest, False)})
    np.testing.assert_array_equal(decode_response(message.body, None)[LOGITS], largest)
    with pytest.raises(ForeignAnswer, match="fit FP32"):
        decode_response(message.body.replace(b"3.4028235e+38", b"3.4028236e+38"), None)


@pytest.mark.parametrize("value", [10**400, -(10**400), 1e39, float("nan"), float("inf")])
def test_json_numbers_that_do_not_fit_float32_are_foreign(value: float) -> None:
    tensor = {"name": LOGITS, "datatype": "FP32", "shape": [1, 1], "data": [value]}
    with pytest.raises(ForeignAnswer, match="finite numbers that fit FP32"):
        decode_response(json.dumps({"model_name": "m", "outputs": [tensor]}).encode(), None)


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "INT32"])
@pytest.mark.parametrize("binary", [True, False])
def test_datatypes_of_other_servers_are_understood(datatype: str, binary: bool) -> None:
    values = np.array([[1, -2, 3]], codec.DATATYPES[datatype])
    tensor: dict[str, Any] = {"name": "scores", "datatype": datatype, "shape": [1, 3]}
    tensor |= {"parameters": {"binary_data_size": values.nbytes}} if binary else {"data": values.tolist()}
    text = json.dumps({"model_name": "m", "outputs": [tensor]}).encode()
    body, length = (text + values.tobytes(), str(len(text))) if binary else (text, None)
    decoded = decode_response(body, length)["scores"]
    assert decoded.dtype == values.dtype and decoded.tolist() == values.tolist()


def test_single_precision_travels_in_json_with_no_more_digits_than_it_needs() -> None:
    pixels = (np.arange(256, dtype=np.float32) / 255).reshape(1, 1, 16, 16)
    message = encode_request(pixels, LOGITS, datatype="FP32", binary=False)
    (tensor,) = json.loads(message.body)["inputs"]
    assert np.array(tensor["data"], np.float32).tobytes() == pixels.tobytes()
    assert b"0.2," in message.body and len(message.body) < 256 * 13


def test_null_stands_for_nothing_as_kserve_writes_it() -> None:
    tensor = {"name": "predict", "shape": [2], "datatype": "INT64", "parameters": None, "data": [1, 0]}
    answer = {"model_name": "m", "model_version": None, "id": None, "parameters": None, "outputs": [tensor]}
    assert decode_response(json.dumps(answer).encode(), None)["predict"].tolist() == [1, 0]


@pytest.mark.parametrize("values", [{"data": []}, {"parameters": {"binary_data_size": 0}}])
def test_empty_tensors_of_enormous_shape_are_foreign(values: dict[str, Any]) -> None:
    tensor = {"name": LOGITS, "datatype": "FP32", "shape": [0, 2**31 - 1, 2**31 - 1], **values}
    with pytest.raises(ForeignAnswer, match="greater than or equal to 1"):
        decode_response(json.dumps({"model_name": "m", "outputs": [tensor]}).encode(), None)


def test_every_output_has_a_datatype_of_the_wire() -> None:
    assert set(OUTPUT_DATATYPE.values()) <= set(codec.DATATYPES)
