"""What OpenAPI says about bodies and refusals that the framework does not see, because the routes read them raw."""

from typing import Any

from shared.errors import BY_STATUS, PROBLEM_MEDIA
from shared.protocol import (
    BINARY_EXTENSION,
    HEADER_LENGTH,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    RequestHeader,
    ResponseHeader,
)

API_VERSION = "1"
BINARY = "application/octet-stream"

_TEXT, _WHOLE_NUMBER = {"type": "string"}, {"type": "integer", "minimum": 0}
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "error", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "error": _TEXT,
        "request_id": _TEXT,
        "retry_after": _WHOLE_NUMBER,
        "remaining": _WHOLE_NUMBER,
        "requested": _WHOLE_NUMBER,
    },
}

KEYED: dict[str, Any] = {"security": [{"key": []}]}
"""For routes that want an API key."""


def _schema(model: type[RequestHeader | ResponseHeader]) -> dict[str, Any]:
    """The model's schema with nothing to look up elsewhere in the document."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return inlined(definitions[part["$ref"].rpartition("/")[2]])
            return {name: inlined(value) for name, value in part.items()}
        return [inlined(item) for item in part] if isinstance(part, list) else part

    described: dict[str, Any] = inlined(schema)
    return described


QUESTION: dict[str, Any] = {
    "parameters": [
        {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            "description": "The same key with the same body is charged once.",
        },
        {
            "name": HEADER_LENGTH,
            "in": "header",
            "schema": _WHOLE_NUMBER,
            "description": f"Bytes of JSON before the tensors ({BINARY_EXTENSION}).",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": _schema(RequestHeader)},
            BINARY: {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
"""Headers and body of an inference request."""

ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer, paid for once.",
        "content": {
            "application/json": {"schema": _schema(ResponseHeader)},
            BINARY: {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": {name: {"schema": _TEXT} for name in (IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED, HEADER_LENGTH)},
    }
}
"""A paid answer, in either form."""


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem documents with these statuses."""
    return {
        status: {"description": BY_STATUS[status].title, "content": {PROBLEM_MEDIA: {"schema": _PROBLEM}}}
        for status in statuses
    }


def complete(document: dict[str, Any]) -> None:
    """Say what a key is, and take out the framework's own 422: a parameter in a path is any text, never invalid."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for invented in ("HTTPValidationError", "ValidationError"):
        del document["components"]["schemas"][invented]
    for operation in (operation for methods in document["paths"].values() for operation in methods.values()):
        if "application/json" in operation["responses"].get("422", {}).get("content", {}):
            del operation["responses"]["422"]
