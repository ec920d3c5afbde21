"""Errors as RFC 9457 answers, every one of them: ours, the framework's, and those nobody expected."""

from starlette.requests import Request
from starlette.responses import JSONResponse

from shared.errors import PROBLEM_MEDIA, ApiError, PayloadTooLarge, SlowBody, Unauthorized


def problem(request: Request, error: ApiError) -> JSONResponse:
    """The answer that says `error`, with the request's id."""
    headers = {}
    if "retry_after" in error.members:
        headers["Retry-After"] = str(error.members["retry_after"])
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, PayloadTooLarge | SlowBody):
        headers["Connection"] = "close"  # the rest of the body is not wanted
    request.state.error = error.code
    document = error.problem() | {"request_id": request.state.request_id}
    return JSONResponse(document, error.status, headers, PROBLEM_MEDIA)
