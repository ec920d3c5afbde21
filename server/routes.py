"""The HTTP surface: Open Inference Protocol v2, usage, and health. Administration is a command line, never HTTP."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from server.api_description import ANSWER, API_VERSION, KEYED, QUESTION, refusals
from server.disclosure import parse_policy
from server.ledger.protocol import Client, StoredAnswer
from server.meter import Meter
from shared.codec import Message
from shared.protocol import (
    BINARY_EXTENSION,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    IMAGES,
    LABEL,
    OUTPUT_DATATYPE,
    PLATFORM,
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


@router.post(
    "/v2/models/{model}/infer",
    response_class=Response,
    responses=ANSWER | refusals(400, 401, 402, 403, 404, 408, 409, 410, 413, 415, 422, 429, 500, 503),
    openapi_extra=KEYED | QUESTION,
)
async def infer(request: Request, model: str, meter: TheMeter) -> Response:
    """Ask the teacher about images; see `shared.codec` for both forms of the body."""
    answered = await meter.answer(request, model)
    replayed = answered.settled.replayed
    request.state.images, request.state.replayed = answered.images, replayed
    headers = await meter.limiter.headers(answered.client)
    return _paid(answered.settled.answer, answered.key, replayed, headers)


@router.get(
    "/v1/results/{key:path}",
    response_class=Response,
    responses=ANSWER | refusals(400, 401, 404, 409, 410, 429, 500, 503),
    openapi_extra=KEYED,
)
async def result(key: str, meter: TheMeter, client: TheClient) -> Response:
    """Fetch again, free, what was bought under this idempotency key."""
    return _paid(await meter.bought(client, key), key, replayed=True, headers={})


def _paid(answer: StoredAnswer, key: str, replayed: bool, headers: dict[str, str]) -> Response:
    headers = {**Message(answer.body, answer.header_length).headers, **headers, IDEMPOTENCY_KEY: key}
    if replayed:
        headers[IDEMPOTENCY_REPLAYED] = "true"
    return Response(answer.body, headers=headers)


@router.get("/v2")
async def server_metadata() -> dict[str, Any]:
    """Name and extensions of this server."""
    return {"name": "mekd-server", "version": API_VERSION, "extensions": [BINARY_EXTENSION]}


@router.get("/v2/models/{model}", responses=refusals(401, 404, 500, 503), openapi_extra=KEYED)
async def model_metadata(model: str, meter: TheMeter, client: TheClient) -> ModelMetadata:
    """What the model takes, and what this key may see of its answers."""
    meter.check_model(model)
    allowed = parse_policy(client.account.policy).outputs
    shapes = {name: [-1] if name == LABEL else [-1, meter.teacher.classes] for name in allowed}
    return ModelMetadata(
        name=model,
        versions=[meter.teacher.version],
        platform=PLATFORM,
        inputs=[TensorMetadata(name=IMAGES, datatype="UINT8", shape=[-1, *meter.teacher.image_shape])],
        outputs=[TensorMetadata(name=n, datatype=OUTPUT_DATATYPE[n], shape=s) for n, s in shapes.items()],
        parameters={"classes": meter.teacher.classes},
    )


@router.get("/v1/usage", responses=refusals(401, 500, 503), openapi_extra=KEYED)
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


@router.get("/readyz", responses=refusals(500, 503))
@router.get("/v2/health/ready", responses=refusals(500, 503))
async def ready(meter: TheMeter) -> dict[str, bool]:
    """A question could be answered and charged now; 503 while the server drains or the ledger cannot be written."""
    await meter.check_ready()
    return {"ready": True}


@router.get("/v2/models/{model}/ready", responses=refusals(404, 500, 503))
async def model_ready(model: str, meter: TheMeter) -> dict[str, bool]:
    """As `ready`, for the named model."""
    meter.check_model(model)
    return await ready(meter)
