"""The API's description, held against the API by requests that are drawn from it, good ones and bad ones."""

import warnings
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings

from tests.conftest import LiveServer, Serve
from tests.server.asking import ask, get, some_images

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its own imports
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

PROMISES = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
GOOD, BAD = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
OPERATIONS = [
    ("POST", "/v2/models/{model}/infer"),
    ("GET", "/v1/results/{key}"),
    ("GET", "/v1/usage"),
    ("GET", "/v2"),
    ("GET", "/v2/models/{model}"),
    ("GET", "/v2/models/{model}/ready"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


@pytest.fixture
def described(serve: Serve) -> LiveServer:
    return serve(openapi=True)


def test_every_operation_is_described_and_no_other(described: LiveServer) -> None:
    document = get(described, "/openapi.json").json()
    paths = document["paths"]
    assert "HTTPValidationError" not in str(document)
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("mode", "method", "path"),
    [*((GOOD, *operation) for operation in OPERATIONS), (BAD, *OPERATIONS[0])],  # the others take any string
)
def test_whatever_is_asked_the_answer_is_as_described(
    described: LiveServer, mode: schemathesis.GenerationMode, method: str, path: str
) -> None:
    operation = schemathesis.openapi.from_dict(get(described, "/openapi.json").json())[path][method]
    key = described.make_key()
    count = 0

    def check(case: Any) -> None:
        nonlocal count
        count += 1
        if count % 2:
            case.path_parameters |= {name: "teacher" for name in case.path_parameters if name == "model"}
        case.call_and_validate(
            base_url=described.url, session=session, headers={"Authorization": f"Bearer {key}"}, checks=PROMISES
        )

    drawn = settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    with requests.Session() as session:
        drawn(given(operation.as_strategy(generation_mode=mode))(check))()
    assert count
    assert ask(described, key, some_images(1)).status_code == 200
