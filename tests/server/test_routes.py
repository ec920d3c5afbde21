import httpx
import pytest

from shared.protocol import ModelMetadata, Usage
from tests.conftest import LiveServer
from tests.server.asking import ask, get, problem, some_images


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/health/live", "/v2/health/ready", "/healthz", "/readyz", "/v2/models/teacher/ready"]
)
def test_health_needs_no_key(live_server: LiveServer, path: str) -> None:
    assert get(live_server, path).status_code == 200


@pytest.mark.parametrize("path", ["/v2/models/teacher", "/v1/usage"])
def test_everything_else_needs_a_key(live_server: LiveServer, path: str) -> None:
    problem(get(live_server, path), 401, "unauthorized")
    assert get(live_server, path, live_server.make_key()).status_code == 200


@pytest.mark.parametrize(
    ("policy", "outputs"),
    [
        ("logits", {"logits": [-1, 10], "probabilities": [-1, 10], "label": [-1]}),
        ("probabilities", {"probabilities": [-1, 10], "label": [-1]}),
        ("top1", {"label": [-1]}),
    ],
)
def test_metadata_shows_what_the_key_may_see(
    live_server: LiveServer, policy: str, outputs: dict[str, list[int]]
) -> None:
    response = get(live_server, "/v2/models/teacher", live_server.make_key(policy=policy))
    metadata = ModelMetadata.model_validate_json(response.content)
    assert {output.name: output.shape for output in metadata.outputs} == outputs
    assert metadata.versions == [live_server.meter.teacher.version]
    assert metadata.inputs[0].model_dump() == {"name": "images", "datatype": "UINT8", "shape": [-1, 1, 8, 8]}


def test_usage_counts_images(live_server: LiveServer) -> None:
    key = live_server.make_key(name="edge-1", budget=100, policy="top1", images_per_minute=50, expires=4_000_000_000)
    ask(live_server, key, some_images(30), "label")
    assert Usage.model_validate_json(get(live_server, "/v1/usage", key).content) == Usage(
        client="edge-1",
        budget=100,
        spent=30,
        remaining=70,
        policy="top1",
        images_per_minute=50,
        images_per_request=1024,
        expires="2096-10-02T07:06:40+00:00",
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/openapi.json"),
        ("POST", "/v1/usage"),
        ("DELETE", "/v2"),
        ("GET", "/v2/models/teacher/infer"),
        ("POST", "/v2/repository/models/teacher/load"),
    ],
)
def test_what_is_not_offered_is_not_found(live_server: LiveServer, method: str, path: str) -> None:
    document = problem(httpx.request(method, live_server.url + path), 404, "not-found")
    assert f"{method} {path}" in document["detail"]


@pytest.mark.parametrize("path", ["/v2/models/other", "/v2/models/other/ready"])
def test_other_models_are_not_found(live_server: LiveServer, path: str) -> None:
    document = problem(get(live_server, path, live_server.make_key()), 404, "not-found")
    assert "only 'teacher'" in document["detail"]
