"""One question on its way through the meter: who asks, was it paid before, may it be asked, infer, charge, answer.

The order is the contract. Whatever refuses a question does so before the model works, and nothing that is refused
later has cost anything earlier: the rate counts only what the budget can pay and the queue has room for, the ledger
charges only what was answered, and the answer leaves only after the ledger's commit.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request

from server.auth import authenticate
from server.batcher import Batcher
from server.disclosure import Images, Logits, Policy, add_noise, parse_policy
from server.in_flight import InFlight
from server.ledger.protocol import Client, Ledger, Settled, StoredAnswer
from server.metrics import Metrics
from server.rate_limit import open_rate_limiter
from server.settings import Settings
from server.teacher import Teacher
from server.validation import checked_idempotency_key, decode_question, fingerprint, idempotency_key, read_body
from shared.codec import InferRequest, encode_response
from shared.errors import InternalError, NotFound, Unavailable


@dataclass(frozen=True)
class Answered:
    """An answer that is paid for and may be sent."""

    client: Client
    key: str
    images: int
    settled: Settled


class Meter:
    """Everything that one serving process shares between its requests.

    Raises:
        InvalidConfig: the store of the rate limits cannot be used.
    """

    def __init__(
        self, settings: Settings, teacher: Teacher, ledger: Ledger, clock: Callable[[], float], metrics: Metrics
    ) -> None:
        self.settings, self.teacher = settings, teacher
        self.limiter = open_rate_limiter(settings.rate_limits.get_secret_value())
        self.in_flight = InFlight(per_client=settings.in_flight_per_key, wait_seconds=settings.duplicate_seconds)
        self.draining = False
        self._ledger, self._clock, self._metrics = ledger, clock, metrics
        self._noise_secret = settings.noise_secret.get_secret_value().encode()
        self.queue = Batcher(
            self._infer,
            model_batch=settings.model_batch,
            queue_images=settings.queue_images,
            queue_bytes=settings.queue_bytes,
        )
        metrics.queue_images.set_function(lambda: self.queue.held_images)
        metrics.queue_bytes.set_function(lambda: self.queue.held_bytes)
        metrics.in_flight.set_function(lambda: self.in_flight.requests)

    async def client(self, request: Request) -> Client:
        """Who asks. Raises `Unauthorized`."""
        client = await authenticate(self._ledger, request.headers.get("authorization"), self._clock())
        request.state.client = client.account.name
        return client

    def check_model(self, name: str) -> None:
        """Raise `NotFound` for any model but the one that is served."""
        if name != self.settings.model:
            raise NotFound(f"There is no model '{name}' here, only '{self.settings.model}'.")

    async def check_ready(self) -> None:
        """Return if a question could be answered and charged now. The model is loaded before the server listens.

        Raises:
            Unavailable: the server drains, or the ledger cannot be written.
        """
        self._check_not_draining()
        await self._ledger.check_writable()

    async def answer(self, request: Request, model: str) -> Answered:
        """Answer one inference request.

        Raises:
            ApiError: any; what is raised was not charged, but for a ledger that is away: the same again is safe.
        """
        self._check_not_draining()
        client = await self.client(request)
        self.check_model(model)
        key = idempotency_key(request)
        with self.in_flight.place(client):
            with self.queue.coming():
                body = await read_body(request, self.settings)
                question = decode_question(request, body, self.teacher, self.settings)
                asked = fingerprint(request, body)
            async with self.in_flight.alone(client, key):
                stored = await self._ledger.answer(client, key)
                if stored is None:
                    settled = await self._buy(client, key, question, asked)
                else:
                    stored.check(asked)
                    settled = Settled(stored, replayed=True)
        count = len(question.images)
        if settled.replayed:
            self._metrics.replays.inc()
        else:
            self._metrics.images.inc(count)
        return Answered(client, key, count, settled)

    async def bought(self, client: Client, key: str) -> StoredAnswer:
        """What `client` bought under the idempotency `key`; waits while it is being bought.

        Raises:
            ApiError: `NotFound`, or what the ledger says.
        """
        checked_idempotency_key(key)
        with self.in_flight.place(client):
            async with self.in_flight.alone(client, key):
                stored = await self._ledger.answer(client, key)
        if stored is None:
            raise NotFound("Nothing was bought under this idempotency key. Send the question with it.")
        self._metrics.replays.inc()
        return stored

    async def close(self) -> None:
        """End the inference thread and the limiter. The ledger belongs to the caller."""
        self.queue.close()
        await self.limiter.close()

    def _check_not_draining(self) -> None:
        if self.draining:
            raise Unavailable("The server is shutting down. Send the same again later.", retry_after=1)

    async def _buy(self, client: Client, key: str, question: InferRequest, asked: bytes) -> Settled:
        policy = parse_policy(client.account.policy)
        outputs = policy.choose(question.outputs, question.binary)
        count = len(question.images)
        if count > client.remaining:
            raise client.exhausted(count)
        with self.queue.place(question.images):
            await self.limiter.admit(client, count)
            logits = await self.queue.ask(question.images)
            if logits.shape != (count, self.teacher.classes) or not np.isfinite(logits).all():
                raise InternalError("The model gave no usable answer to these images. Nothing was charged.")
            shown = policy.disclose(self._blurred(logits, question.images, policy, client), outputs)
            message = encode_response(self.settings.model, self.teacher.version, shown, id=question.id)
            answer = StoredAnswer(asked, message.body, message.header_length)
            with self._metrics.commit.time():
                return await self._ledger.settle(client, key, count, answer)

    def _blurred(self, logits: Logits, images: Images, policy: Policy, client: Client) -> Logits:
        if not policy.noise:
            return logits
        secret = hmac.digest(self._noise_secret, str(client.id).encode(), "sha256")
        return add_noise(logits, images, policy.noise, secret)

    def _infer(self, images: Images) -> Logits:
        self._metrics.batch.observe(len(images))
        with self._metrics.inference.time():
            return self.teacher.infer(images)
