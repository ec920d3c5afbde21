"""Every error of the product, on both sides of the wire.

    MekdError                              exit 1
    ├── InvalidConfig                      exit 2   a setting, flag or config file is wrong
    ├── UnknownDataset                     exit 2   no such dataset, or its files are not there
    ├── InvalidImage                       exit 2   an image that cannot be asked about
    ├── InvalidCheckpoint                  exit 2   corrupt, or written by something else
    ├── RunMismatch                        exit 2   a run folder that belongs to another config
    ├── BudgetTooSmall                     exit 5   the plan needs more queries than the key has left
    ├── Unreachable                        exit 3   nobody answers at that URL
    ├── ForeignAnswer                      exit 3   somebody answers, but not the protocol
    ├── Stopped                            exit 130 Ctrl-C; the same command goes on from there
    └── ApiError                           crosses the wire as an RFC 9457 problem
        ├── InvalidRequest       400       exit 6
        ├── Unauthorized         401       exit 4
        ├── BudgetExhausted      402       exit 5
        ├── OutputNotAllowed     403       exit 4
        ├── NotFound             404       exit 6
        ├── SlowBody             408       exit 6
        ├── RequestInFlight      409       exit 6   same key again later
        ├── AnswerPruned         410       exit 6   paid before; the answer is no longer kept
        ├── PayloadTooLarge      413       exit 6
        ├── UnsupportedMedia     415       exit 6
        ├── KeyReused            422       exit 6   idempotency key already bought another answer
        ├── RateLimited          429       exit 6   same key again after Retry-After
        ├── InternalError        500       exit 3
        └── Unavailable          503       exit 3   same key again, with back-off

An `ApiError` raised on the server is raised as the same class at the edge: the class is found by its
`code`, which never changes, and its numbers travel as members of the problem document. A message says
what happened, the number, and the way out.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

PROBLEM_TYPE = "urn:mekd:error:"
PROBLEM_MEDIA = "application/problem+json"


class MekdError(Exception):
    """Base of everything that is reported to a person without a traceback."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1


class InvalidConfig(MekdError):
    """A setting, flag or config file is wrong."""

    code, exit_code = "invalid-config", 2


class UnknownDataset(MekdError):
    """No such dataset, or its files are not where they were said to be."""

    code, exit_code = "unknown-dataset", 2


class InvalidImage(MekdError):
    """An image file that cannot be read, or does not fit the teacher's input."""

    code, exit_code = "invalid-image", 2


class InvalidCheckpoint(MekdError):
    """A checkpoint that is corrupt, or that something else wrote."""

    code, exit_code = "invalid-checkpoint", 2


class RunMismatch(MekdError):
    """A run folder that belongs to another config."""

    code, exit_code = "run-mismatch", 2


class BudgetTooSmall(MekdError):
    """The plan needs more queries than the key has left; nothing was asked."""

    code, exit_code = "budget-too-small", 5


class Unreachable(MekdError):
    """Nobody answers at the server's URL."""

    code, exit_code = "unreachable", 3


class ForeignAnswer(MekdError):
    """Somebody answers, but does not speak the Open Inference Protocol."""

    code, exit_code = "foreign-answer", 3


class Stopped(MekdError):
    """A person asked for a stop; everything paid for is stored, and the same command goes on from there."""

    code, exit_code = "stopped", 130


class ApiError(MekdError):
    """An answer other than 200; `members` are the numbers that travel with it."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Error"
    exit_code = 6

    def __init__(self, message: str, /, **members: int | float | str) -> None:
        super().__init__(message)
        self.members = members

    def problem(self) -> dict[str, Any]:
        """RFC 9457 document; `error` is there for clients of the Open Inference Protocol."""
        own = {"type": PROBLEM_TYPE + self.code, "title": self.title, "status": self.status}
        return {**self.members, **own, "detail": str(self), "error": str(self)}


class InvalidRequest(ApiError):
    """The request does not hold what the protocol or the model asks for."""

    code, status, title = "invalid-request", 400, "Invalid request"


class Unauthorized(ApiError):
    """No key, an unknown key, a revoked key or an expired one: deliberately one text for all."""

    code, status, title, exit_code = "unauthorized", 401, "Unauthorized", 4


class BudgetExhausted(ApiError):
    """The key cannot pay; members `remaining` and `requested` count images."""

    code, status, title, exit_code = "budget-exhausted", 402, "Budget exhausted", 5


class OutputNotAllowed(ApiError):
    """The key's response policy does not disclose the output asked for."""

    code, status, title, exit_code = "output-not-allowed", 403, "Output not allowed", 4


class NotFound(ApiError):
    """No such model or path."""

    code, status, title = "not-found", 404, "Not found"


class SlowBody(ApiError):
    """The body did not arrive in time."""

    code, status, title = "slow-body", 408, "Request timeout"


class RequestInFlight(ApiError):
    """The same idempotency key is being answered at this moment; member `retry_after` in seconds."""

    code, status, title = "request-in-flight", 409, "Request in flight"


class AnswerPruned(ApiError):
    """The idempotency key was charged, but its answer is not kept any more."""

    code, status, title = "answer-pruned", 410, "Answer pruned"


class PayloadTooLarge(ApiError):
    """More bytes or images than one request may carry."""

    code, status, title = "payload-too-large", 413, "Payload too large"


class UnsupportedMedia(ApiError):
    """A content encoding; bodies are taken as they are."""

    code, status, title = "unsupported-media", 415, "Unsupported media type"


class KeyReused(ApiError):
    """The idempotency key already bought the answer to another body."""

    code, status, title = "key-reused", 422, "Idempotency key reused"


class RateLimited(ApiError):
    """Too many images in a minute, or requests at once; member `retry_after` in seconds. Never means the budget."""

    code, status, title = "rate-limited", 429, "Rate limit exceeded"


class InternalError(ApiError):
    """The server failed; member `request_id` finds the cause in its log."""

    code, status, title, exit_code = "internal-error", 500, "Internal error", 3


class Unavailable(ApiError):
    """Queue full or draining; member `retry_after` in seconds."""

    code, status, title, exit_code = "unavailable", 503, "Unavailable", 3


BY_CODE: dict[str, type[ApiError]] = {error.code: error for error in ApiError.__subclasses__()}
BY_STATUS: dict[int, type[ApiError]] = {error.status: error for error in ApiError.__subclasses__()}


def in_words(document: Mapping[str, Any]) -> str:
    """What an error document says, ours in `detail`, others in `error` or `message`; "" where it says nothing."""
    return str(document.get("detail") or document.get("error") or document.get("message") or "")


def from_problem(status: int, document: Mapping[str, Any]) -> ApiError:
    """The error a server meant: by its code where it is ours, else by its HTTP status."""
    code = str(document.get("type", "")).removeprefix(PROBLEM_TYPE)
    fallback = InvalidRequest if 400 <= status < 500 else InternalError
    kind = BY_CODE.get(code) or BY_STATUS.get(status, fallback)
    message = in_words(document) or f"The server answered {status}."
    reserved = {"type", "title", "status", "detail", "error"}
    members = {k: v for k, v in document.items() if k not in reserved and isinstance(v, int | float | str)}
    return kind(message, **members)
