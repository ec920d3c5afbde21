"""From the bytes of a request to a question that the teacher can answer. Fixed order, cheapest checks first."""

import asyncio
import hashlib
import re
import uuid

from starlette.requests import Request

from server.settings import Settings
from server.teacher import Teacher
from shared.codec import InferRequest, decode_request
from shared.errors import InvalidRequest, PayloadTooLarge, SlowBody, UnsupportedMedia
from shared.protocol import HEADER_LENGTH, IDEMPOTENCY_KEY

LONGEST_NUMBER = 18
"""Digits: what is longer is too large whatever it says, and is not worth reading."""
_VISIBLE_ASCII = re.compile(r"[!-~]{1,255}", re.ASCII)


def idempotency_key(request: Request) -> str:
    """The client's idempotency key, or a new one where it sent none.

    Raises:
        InvalidRequest: empty, longer than 255 characters, or not visible ASCII.
    """
    key = request.headers.get(IDEMPOTENCY_KEY)
    return str(uuid.uuid4()) if key is None else checked_idempotency_key(key)


def checked_idempotency_key(key: str) -> str:
    """`key` as it came. Raises `InvalidRequest` as `idempotency_key` does."""
    if not _VISIBLE_ASCII.fullmatch(key):
        raise InvalidRequest(f"{IDEMPOTENCY_KEY} must be 1 to 255 visible ASCII characters, without spaces.")
    return key


async def read_body(request: Request, settings: Settings) -> bytes:
    """The body as it came, bounded in size and time.

    Raises:
        UnsupportedMedia: it is compressed.
        PayloadTooLarge: more than `settings.body_bytes`, declared or arriving.
        SlowBody: not complete within `settings.body_seconds`.
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise UnsupportedMedia("Bodies are taken without Content-Encoding. Send the same body uncompressed.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > LONGEST_NUMBER or int(declared) > settings.body_bytes):
        raise _too_many_bytes(settings)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.body_bytes:
                    raise _too_many_bytes(settings)
    except TimeoutError:
        raise SlowBody(
            f"The body did not arrive within {settings.body_seconds:g} seconds; {len(body)} bytes came. "
            "Send fewer images in one request."
        ) from None
    return bytes(body)


def _too_many_bytes(settings: Settings) -> PayloadTooLarge:
    return PayloadTooLarge(f"A body may have {settings.body_bytes} bytes. Send fewer images in one request.")


def fingerprint(request: Request, body: bytes) -> bytes:
    """SHA-256 of all that decides the answer; the same idempotency key must always come with the same one."""
    parts = (request.url.path, request.headers.get(HEADER_LENGTH, ""))
    return hashlib.sha256("\n".join((*parts, "")).encode() + body).digest()


def decode_question(request: Request, body: bytes, teacher: Teacher, settings: Settings) -> InferRequest:
    """Decode `body` and hold it against the model.

    Raises:
        InvalidRequest: malformed, or images of another shape than the model's.
        PayloadTooLarge: more images than one request may carry.
    """
    question = decode_request(body, request.headers.get(HEADER_LENGTH))
    count, *shape = question.images.shape
    if tuple(shape) != teacher.image_shape:
        raise InvalidRequest(f"The model takes images of shape {list(teacher.image_shape)} (C, H, W), not {shape}.")
    if count > settings.images_per_request:
        raise PayloadTooLarge(
            f"A request may carry {settings.images_per_request} images, not {count}. Split it into several."
        )
    return question
