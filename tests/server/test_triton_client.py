"""An unmodified client of another vendor drives the endpoint."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.conftest import LiveServer
from tests.server.asking import some_images

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of tritonclient's own imports
    from tritonclient import http as triton


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[Any]:
    connected = triton.InferenceServerClient(live_server.url.removeprefix("http://"))
    yield connected
    connected.close()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("output", ["logits", "probabilities", "label", None])
def test_infers(client: Any, live_server: LiveServer, output: str | None, binary: bool) -> None:
    images = some_images(20)
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    outputs = None if output is None else [triton.InferRequestedOutput(output, binary_data=binary)]
    key = live_server.make_key()
    result = client.infer("teacher", [tensor], outputs=outputs, request_id="r1", headers=bearer(key))
    logits = live_server.teacher.logits(images)
    values = result.as_numpy(output or "logits")
    assert result.get_response()["id"] == "r1"
    if output == "label":
        np.testing.assert_array_equal(values, logits.argmax(1))
    elif output == "probabilities":
        np.testing.assert_allclose(values.sum(1), 1, rtol=1e-5)
    else:
        np.testing.assert_array_equal(values, logits)
    assert live_server.spent(key) == 20


def test_asks_for_health_and_metadata(client: Any, live_server: LiveServer) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("teacher")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata("teacher", headers=bearer(live_server.make_key(policy="top1")))
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}]
    assert metadata["outputs"] == [{"name": "label", "datatype": "INT64", "shape": [-1]}]


def test_reads_our_errors(client: Any, live_server: LiveServer) -> None:
    tensor = triton.InferInput("images", [1, 1, 8, 8], "UINT8")
    tensor.set_data_from_numpy(some_images(1))
    with pytest.raises(triton.InferenceServerException, match="missing, unknown, revoked or expired"):
        client.infer("teacher", [tensor])
    with pytest.raises(triton.InferenceServerException, match="There is no model 'other' here"):
        client.infer("other", [tensor], headers=bearer(live_server.make_key()))


def test_refuses_compressed_bodies_in_words(client: Any, live_server: LiveServer) -> None:
    tensor = triton.InferInput("images", [1, 1, 8, 8], "UINT8")
    tensor.set_data_from_numpy(some_images(1))
    with pytest.raises(triton.InferenceServerException, match="without Content-Encoding"):
        client.infer(
            "teacher", [tensor], headers=bearer(live_server.make_key()), request_compression_algorithm="gzip"
        )
