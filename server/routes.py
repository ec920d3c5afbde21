"""The HTTP surface: Open Inference Protocol v2, usage, and health. Administration is a command line, never HTTP."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from server.disclosure import POLICIES
from server.ledger.protocol import Client
from server.meter import MODEL_VERSION, Meter
from shared.protocol import (
    BINARY_EXTENSION,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    IMAGES,
    LABEL,
    OUTPUT_DATATYPE,
    Message,
    ModelMetadata,
    TensorMetadata,
    Usage,
)

router = APIRouter()


def _meter(request: Request) -> Meter:
    meter: Meter = request.app.state.meter
    return meter


async def _client(request: Request) -> Client:
    return await _meter(request).client(request)


TheMeter = Annotated[Meter, Depends(_meter)]
TheClient = Annotated[Client, Depends(_client)]


@router.post("/v2/models/{model}/infer")
async def infer(request: Request, model: str, meter: TheMeter) -> Response:
    """Ask the teacher about images; see `shared.protocol` for both forms of the body."""
    answered = await meter.answer(request, model)
    answer, replayed = answered.settled.answer, answered.settled.replayed
    request.state.images, request.state.replayed = answered.images, replayed
    headers = {
        **Message(answer.body, answer.header_length).headers,
        **(await meter.limiter.state(answered.client)).headers,
        IDEMPOTENCY_KEY: answered.key,
    }
    if replayed:
        headers[IDEMPOTENCY_REPLAYED] = "true"
    return Response(answer.body, headers=headers)


@router.get("/v2")
async def server_metadata() -> dict[str, Any]:
    """Name and extensions of this server."""
    return {"name": "mekd-server", "version": MODEL_VERSION, "extensions": [BINARY_EXTENSION]}


@router.get("/v2/models/{model}")
async def model_metadata(model: str, meter: TheMeter, client: TheClient) -> ModelMetadata:
    """What the model takes, and what this key may see of its answers."""
    meter.check_model(model)
    shapes = {
        name: [-1] if name == LABEL else [-1, meter.teacher.classes] for name in POLICIES[client.account.policy]
    }
    return ModelMetadata(
        name=model,
        versions=[MODEL_VERSION],
        platform="mekd",
        inputs=[TensorMetadata(name=IMAGES, datatype="UINT8", shape=[-1, *meter.teacher.image_shape])],
        outputs=[TensorMetadata(name=n, datatype=OUTPUT_DATATYPE[n], shape=s) for n, s in shapes.items()],
    )


@router.get("/v1/usage")
async def usage(meter: TheMeter, client: TheClient) -> Usage:
    """Where this key's budget stands."""
    account = client.account
    return Usage(
        client=account.name,
        budget=account.budget,
        spent=client.spent,
        remaining=client.remaining,
        policy=account.policy,
        images_per_minute=account.images_per_minute,
        images_per_request=meter.settings.images_per_request,
        expires=None if account.expires is None else datetime.fromtimestamp(account.expires, UTC).isoformat(),
    )


@router.get("/healthz")
@router.get("/v2/health/live")
async def live() -> dict[str, bool]:
    """The process answers."""
    return {"live": True}


@router.get("/readyz")
@router.get("/v2/health/ready")
async def ready(meter: TheMeter) -> dict[str, bool]:
    """The model answers; 503 while the server drains."""
    meter.check_ready()
    return {"ready": True}


@router.get("/v2/models/{model}/ready")
async def model_ready(model: str, meter: TheMeter) -> dict[str, bool]:
    """The named model answers."""
    meter.check_model(model)
    return await ready(meter)
