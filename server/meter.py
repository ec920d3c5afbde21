"""One question on its way through the meter: who asks, was it paid before, may it be asked, infer, charge, answer.

The order is the contract. Whatever refuses a question does so before the model works, and nothing that is refused
later has cost anything earlier: the rate counts only what the budget can pay, the ledger charges only what was
answered, and the answer leaves only after the ledger's commit.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request

from server.auth import authenticate
from server.batcher import Batcher
from server.disclosure import choose_outputs, disclose
from server.ledger.protocol import Client, Ledger, Settled, StoredAnswer
from server.rate_limit import RateLimiter
from server.settings import Settings
from server.teacher import Teacher
from server.validation import decode_question, fingerprint, idempotency_key, read_body
from shared.errors import InternalError, NotFound, RequestInFlight, Unavailable
from shared.protocol import InferRequest, encode_response

MODEL_VERSION = "1"


@dataclass(frozen=True)
class Answered:
    """An answer that is paid for and may be sent."""

    client: Client
    key: str
    images: int
    settled: Settled


class Meter:
    """Everything that one serving process shares between its requests."""

    def __init__(self, settings: Settings, teacher: Teacher, ledger: Ledger, clock: Callable[[], float]) -> None:
        self.settings, self.teacher, self.limiter = settings, teacher, RateLimiter()
        self.draining = False
        self._ledger, self._clock = ledger, clock
        self._batcher = Batcher(teacher.infer, model_batch=settings.model_batch, queue_images=settings.queue_images)
        self._in_flight: set[tuple[int, str]] = set()

    async def client(self, request: Request) -> Client:
        """Who asks. Raises `Unauthorized`."""
        client = await authenticate(self._ledger, request.headers.get("authorization"), self._clock())
        request.state.client = client.account.name
        return client

    def check_model(self, name: str) -> None:
        """Raise `NotFound` for any model but the one that is served."""
        if name != self.settings.model:
            raise NotFound(f"There is no model '{name}' here, only '{self.settings.model}'.")

    def check_ready(self) -> None:
        """Raise `Unavailable` while the server drains."""
        if self.draining:
            raise Unavailable("The server is shutting down. Send the same again later.", retry_after=1)

    async def answer(self, request: Request, model: str) -> Answered:
        """Answer one inference request. Raises any `ApiError`; what is raised was not charged."""
        self.check_ready()
        client = await self.client(request)
        self.check_model(model)
        key = idempotency_key(request)
        with self._batcher.coming():
            body = await read_body(request, self.settings)
            question = decode_question(request, body, self.teacher, self.settings)
            asked = fingerprint(request, body)
            stored = await self._ledger.answer(client, key)
        if stored is not None:
            stored.check(asked)
            settled = Settled(stored, replayed=True)
        else:
            with self._claimed(client, key):
                settled = await self._buy(client, key, question, asked)
        return Answered(client, key, len(question.images), settled)

    def close(self) -> None:
        """End the inference thread. The ledger belongs to the caller."""
        self._batcher.close()

    async def _buy(self, client: Client, key: str, question: InferRequest, asked: bytes) -> Settled:
        outputs = choose_outputs(client.account.policy, question.outputs, question.binary)
        count = len(question.images)
        if count > client.remaining:
            raise client.exhausted(count)
        await self.limiter.admit(client, count)
        logits = await self._batcher.ask(question.images)
        if logits.shape != (count, self.teacher.classes) or not np.isfinite(logits).all():
            raise InternalError("The model gave no usable answer to these images. Nothing was charged.")
        message = encode_response(self.settings.model, MODEL_VERSION, disclose(logits, outputs), id=question.id)
        answer = StoredAnswer(asked, message.body, message.header_length)
        return await self._ledger.settle(client, key, count, answer)

    @contextlib.contextmanager
    def _claimed(self, client: Client, key: str) -> Iterator[None]:
        claim = (client.id, key)
        if claim in self._in_flight:
            raise RequestInFlight(
                "A request with this idempotency key is being answered. Send the same again in a second.",
                retry_after=1,
            )
        self._in_flight.add(claim)
        try:
            yield
        finally:
            self._in_flight.discard(claim)
