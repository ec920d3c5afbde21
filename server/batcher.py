"""Between many requests and one model: joins small requests, splits large ones, one thread infers.

While the model works, requests gather by themselves, so that a batch waits for company only where a request is
known to be on its way, and then a millisecond at most.

Shapes: N images of one request, B images of one pass of the model, K classes.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared.errors import Unavailable

Images = NDArray[np.uint8]
Logits = NDArray[np.float32]

WAIT_SECONDS = 0.001
SMALLEST_BATCH = 8
"""Smaller batches run other kernels, whose last bits differ; they are filled up with blank images."""


@dataclass(eq=False)
class _Job:
    images: Images
    answer: asyncio.Future[Logits]
    parts: list[Logits] = field(default_factory=list)
    taken: int = 0

    @property
    def waiting(self) -> int:
        return len(self.images) - self.taken

    def take(self, limit: int) -> Images:
        start, self.taken = self.taken, min(self.taken + limit, len(self.images))
        return self.images[start : self.taken]

    def deliver(self, logits: Logits) -> None:
        self.parts.append(logits)  # in order, because one pass runs at a time
        if self.waiting == 0 and not self.answer.done():
            self.answer.set_result(np.concatenate(self.parts))


class Batcher:
    """Answers `ask` with one pass, or several, of `infer`: uint8 [B, C, H, W] -> float32 [B, K]."""

    def __init__(
        self, infer: Callable[[Images], Logits], *, model_batch: int, queue_images: int, queue_bytes: int
    ) -> None:
        self._infer, self._model_batch = infer, model_batch
        self._queue_images, self._queue_bytes = queue_images, queue_bytes
        self.held_images, self.held_bytes = 0, 0
        self._jobs: deque[_Job] = deque()
        self._coming = 0
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")

    @property
    def waiting(self) -> int:
        """Images that no pass has taken yet."""
        return sum(job.waiting for job in self._jobs)

    @contextlib.contextmanager
    def coming(self) -> Iterator[None]:
        """While entered, a request is on its way to `ask`."""
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    @contextlib.contextmanager
    def place(self, images: Images) -> Iterator[None]:
        """Hold a place for `images`, taken before anything is counted against the client, kept until all is done.

        Raises:
            Unavailable: too many images are held already, or too many bytes.
        """
        if self.held_images + len(images) > self._queue_images or self.held_bytes + images.nbytes > self._queue_bytes:
            raise Unavailable(
                f"The queue is full: {self.held_images} of {self._queue_images} images, {self.held_bytes} of "
                f"{self._queue_bytes} bytes, and {len(images)} images came. Send the same again later.",
                retry_after=1,
            )
        self.held_images += len(images)
        self.held_bytes += images.nbytes
        try:
            yield
        finally:
            self.held_images -= len(images)
            self.held_bytes -= images.nbytes

    async def ask(self, images: Images) -> Logits:
        """Logits [N, K] for images uint8 [N, C, H, W], in their order; to be called inside `place(images)`."""
        job = _Job(images, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await job.answer

    def close(self) -> None:
        """End the inference thread."""
        self._thread.shutdown()

    async def _work(self) -> None:
        while self._jobs:
            if self._coming and self.waiting < self._model_batch:
                await asyncio.sleep(WAIT_SECONDS)
            batch = self._next_batch()
            try:
                logits_BK = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._pass, [images for _, images in batch]
                )
            except Exception as error:
                for job, _ in batch:
                    self._fail(job, error)
                continue
            for job, images in batch:
                part, logits_BK = logits_BK[: len(images)], logits_BK[len(images) :]
                job.deliver(part)

    def _next_batch(self) -> list[tuple[_Job, Images]]:
        batch, space = [], self._model_batch
        while self._jobs and space:
            job = self._jobs[0]
            images = job.take(space)
            batch.append((job, images))
            space -= len(images)
            if job.waiting == 0:
                self._jobs.popleft()
        return batch

    def _fail(self, job: _Job, error: Exception) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if not job.answer.done():
            job.answer.set_exception(error)

    def _pass(self, parts: list[Images]) -> Logits:
        count = sum(map(len, parts))
        padding = np.zeros((max(0, SMALLEST_BATCH - count), *parts[0].shape[1:]), np.uint8)
        return self._infer(np.concatenate([*parts, padding]))[:count]
