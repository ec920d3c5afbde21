"""The teacher as a function: images in, transfer set out; each distinct image paid for once, whatever dies meanwhile.

Every call goes through the journal in small requests, numbered within their stage. A number that the journal knows is
answered from there, with the images stored there, so a restarted run takes the same steps and learns the same. What
was written but not answered is sent again, same key and same bytes, and the server charges it once. A training that
asks at every step keeps its `place` with its state, and goes on from that number instead of from the first.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.asking.teacher import Teacher
from edge.asking.wire_bytes import Traffic, counted
from edge.transfer_set.journal import Answers, Images, Journal, Request, TransferSet, digests
from shared.errors import BudgetExhausted, ForeignAnswer, MekdError, RunMismatch, Stopped
from shared.protocol import LABEL

REQUEST_BYTES = 8 * 2**20  # servers refuse longer bodies unread; ours does from 16 MiB on


class Oracle:
    """Asks for one `output` and keeps what it paid for in `journal`.

    Args:
        teacher: asked only about what the journal does not have.
        journal: where questions go before they are sent, and answers before they are returned.
        output: `logits`, `probabilities` or `label`.
        classes: that the student has; an answer with others is refused, unstored. None takes whatever comes.
        batch: most images in a request; see `edge.planning.plan.largest_request`.
        should_stop: looked at before every request.
        on_answer: told of every answer to a request: how many images it paid for.
    """

    exhausted = False
    """The budget ended before the last call of `ask` had all its answers."""

    def __init__(
        self,
        teacher: Teacher,
        journal: Journal,
        output: str,
        *,
        classes: int | None = None,
        batch: int = 256,
        should_stop: Callable[[], bool] = lambda: False,
        on_answer: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._teacher = teacher
        self._journal = journal
        self._output = output
        self._classes = classes
        self._batch = batch
        self._should_stop = should_stop
        self._on_answer = on_answer
        self._steps: Counter[str] = Counter()
        self._known: dict[bytes, Answers] = {}
        for request in journal.answered():
            if request.output == output:
                self._learn(request)

    def ask(self, stage: str, images: Images) -> TransferSet:
        """Answers to `images` uint8 [N, C, H, W], in their order; fewer, and `exhausted`, when the budget ends.

        Called again after a restart, with the same stages in the same order, it returns what was stored first.

        Raises:
            Stopped: `should_stop` said so; nothing paid is lost.
            RunMismatch: the journal belongs to other questions.
            Unreachable, ForeignAnswer, ApiError: as `TeacherClient.ask`.
        """
        self.exhausted = False
        settled: list[Request] = []
        start = 0
        while start < len(images) and not self.exhausted:
            request: Request | None = self._next(stage, images[start:])
            while request is not None and request.answers is None:
                request = self._settle(request)
            if request is not None:
                settled.append(request)
                start += len(request.images)
                self._steps[stage] += 1
        return self._joined(settled, images)

    def place(self, stage: str) -> "Place":
        """Where this oracle is in `stage`, to be kept and restored with the state of what learns from it."""
        return Place(self._steps, stage)

    def answered(self, stage: str) -> int:
        """Images of `stage` that have an answer, those included that were paid for before."""
        return sum(len(request.images) for request in self._journal.answered(stage))

    def queries(self, stage: str | None = None) -> int:
        """Images paid for in `stage`, or in all stages."""
        return self._journal.queries(stage)

    def _next(self, stage: str, images: Images) -> Request:
        """The stage's next request: the stored one, or else a new one about the first of `images`, now stored."""
        step = self._steps[stage]
        stored = self._journal.find(stage, step)
        if stored is None:
            batch = images[: images_in_request(self._batch, images[0].nbytes)]
            return self._journal.add(stage, step, self._output, batch, self._new(batch))
        same_kind = stored.output == self._output and stored.images.shape[1:] == images.shape[1:]
        if not same_kind or len(stored.images) > len(images):
            raise RunMismatch(
                f"Request {step} of stage '{stage}' was stored with {list(stored.images.shape)} images for"
                f" '{stored.output}', now {list(images.shape)} for '{self._output}' are left to ask."
                " The run folder belongs to another run; choose another one."
            )
        return stored

    def _settle(self, request: Request) -> Request | None:
        """Send a stored request once: answered, made smaller because the budget ends, or None when it has ended."""
        if not request.sent.any():
            return self._journal.answer(request, self._look_up(request), Traffic())
        if self._should_stop():
            raise Stopped("Stopped. Everything paid for is stored; the same command goes on from here.")
        with counted() as traffic:
            try:
                reply = self._teacher.ask(request.images[request.sent], self._output, request.key)
            except BudgetExhausted as refusal:
                affordable = _affordable(refusal, request)
                self.exhausted = affordable == 0
                first_unpaid = int(np.flatnonzero(request.sent)[affordable])  # what comes before is free or payable
                return self._journal.shrink(request, first_unpaid, traffic)
            except MekdError:
                self._journal.add_traffic(request.stage, traffic)
                raise
        self._check_width(reply.values)
        paid = [digest for digest, sent in zip(digests(request.images), request.sent, strict=True) if sent]
        self._known.update(zip(paid, reply.values, strict=True))
        answered = self._journal.answer(request, self._look_up(request), traffic)
        self._on_answer(len(paid))
        return answered

    def _new(self, images: Images) -> NDArray[np.bool_]:
        """Bool [N]: images that have no answer yet; of equal ones only the first."""
        seen: set[bytes] = set()
        new = []
        for digest in digests(images):
            new.append(digest not in self._known and digest not in seen)
            seen.add(digest)
        return np.array(new, np.bool_)

    def _look_up(self, request: Request) -> Answers:
        return np.stack([self._known[digest] for digest in digests(request.images)])

    def _learn(self, request: Request) -> None:
        assert request.answers is not None
        self._known.update(zip(digests(request.images), request.answers, strict=True))

    def _check_width(self, values: Answers) -> None:
        known = next(iter(self._known.values()), values[0])
        if np.shape(known) != values.shape[1:]:
            raise ForeignAnswer(
                f"The server answered with {values.shape[1]} classes, earlier in this run with {len(known)}:"
                " it serves another teacher now. Start a new run."
            )
        answered = int(values.max()) + 1 if self._output == LABEL else values.shape[1]
        if self._classes and (answered > self._classes or (answered < self._classes and self._output != LABEL)):
            raise ForeignAnswer(
                f"The teacher answered with {answered} classes, and {self._classes} were expected. Start a new run, "
                f"with --classes {answered}{' or more' if self._output == LABEL else ''} for a folder of images."
            )

    def _joined(self, settled: list[Request], images: Images) -> TransferSet:
        if not settled:
            known = next(iter(self._known.values()), np.empty(0, np.float32))
            nothing = np.empty(0, np.int64) if self._output == LABEL else np.empty((0, len(known)), np.float32)
            return TransferSet(images[:0], nothing, self._output)
        answers = np.concatenate([request.answers for request in settled if request.answers is not None])
        return TransferSet(np.concatenate([request.images for request in settled]), answers, self._output)


class Place:
    """How many requests of a stage are learnt from."""

    def __init__(self, steps: Counter[str], stage: str) -> None:
        self._steps, self._stage = steps, stage

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"requests": self._steps[self._stage]}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Have the next question be the request after those."""
        self._steps[self._stage] = state_dict["requests"]


def images_in_request(most: int, image_bytes: int) -> int:
    """Images that one request carries, at most `most` and no more bytes than servers take."""
    return min(most, max(1, REQUEST_BYTES // image_bytes))


def _affordable(refusal: BudgetExhausted, request: Request) -> int:
    """Images that the budget still pays; always fewer than were asked, so that a confused server cannot hold us."""
    remaining = refusal.members.get("remaining")
    return max(0, min(remaining, int(request.sent.sum()) - 1)) if isinstance(remaining, int) else 0
