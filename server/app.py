"""The web application: routes, errors and observation around one meter."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.api_description import API_VERSION, complete
from server.ledger.protocol import Ledger
from server.meter import Meter
from server.metrics import Metrics
from server.observability import Observe
from server.problems import problem
from server.routes import router
from server.settings import Settings
from server.teacher import Teacher
from shared.errors import ApiError, NotFound


def create_app(
    settings: Settings, teacher: Teacher, ledger: Ledger, *, clock: Callable[[], float] = time.time
) -> FastAPI:
    """The application that serves `teacher` behind `ledger`; the caller closes the ledger after it.

    `clock` gives seconds since 1970, and decides when keys expire.
    """
    metrics = Metrics()
    meter = Meter(settings, teacher, ledger, clock, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await meter.close()

    app = FastAPI(
        title="MEKD server",
        version=API_VERSION,
        lifespan=lifespan,
        openapi_url="/openapi.json" if settings.openapi else None,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.meter, app.state.metrics = meter, metrics
    app.include_router(router)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _no_such_route)
    app.add_middleware(Observe, metrics=metrics)
    if settings.openapi:
        complete(app.openapi())
    return app


async def _api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(request, error)


async def _no_such_route(request: Request, _: Exception) -> Response:
    return problem(request, NotFound(f"There is no {request.method} {request.url.path} here."))
