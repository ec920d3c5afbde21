import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.batcher import SMALLEST_BATCH, Batcher
from shared.errors import Unavailable
from tests.fakes import HeldTeacher, LinearTeacher
from tests.server.asking import some_images


def run(
    teacher: LinearTeacher, play: Callable[[Batcher], Any], *, model_batch: int = 16, queue_images: int = 10_000
) -> Any:
    batcher = Batcher(teacher.infer, model_batch=model_batch, queue_images=queue_images)
    try:
        return asyncio.run(play(batcher))
    finally:
        batcher.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(8, 32))
def test_every_request_gets_its_own_answers_however_batches_fall(sizes: list[int], model_batch: int) -> None:
    teacher = LinearTeacher()
    asked = [some_images(size, seed) for seed, size in enumerate(sizes)]

    async def play(batcher: Batcher) -> Any:
        return await asyncio.gather(*map(batcher.ask, asked))

    for images, answer in zip(asked, run(teacher, play, model_batch=model_batch), strict=True):
        np.testing.assert_array_equal(answer, teacher.logits(images))
    assert all(SMALLEST_BATCH <= size <= model_batch for size in teacher.batches)
    assert len(teacher.batches) == -(-sum(sizes) // model_batch)


def test_small_requests_that_wait_together_are_one_pass() -> None:
    teacher = LinearTeacher()

    async def play(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.ask(some_images(4, seed)) for seed in range(4)))

    run(teacher, play)
    assert teacher.batches == [16]


def test_a_large_request_is_split_and_a_small_one_is_filled_up() -> None:
    teacher = LinearTeacher()

    async def play(batcher: Batcher) -> None:
        assert len(await batcher.ask(some_images(40))) == 40
        assert len(await batcher.ask(some_images(1))) == 1

    run(teacher, play)
    assert teacher.batches == [16, 16, 8, 8]


def test_a_lone_request_does_not_wait_but_one_with_company_on_its_way_does() -> None:
    teacher = LinearTeacher()

    async def late(batcher: Batcher) -> None:
        with batcher.coming():
            await asyncio.sleep(0)
        await batcher.ask(some_images(4, 1))

    async def play(batcher: Batcher) -> None:
        await asyncio.gather(late(batcher), batcher.ask(some_images(4, 0)))

    run(teacher, play)
    assert teacher.batches == [8]


def test_a_full_queue_refuses_and_what_waits_is_still_answered() -> None:
    teacher = HeldTeacher()

    async def play(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.ask(some_images(16)))
        await asyncio.to_thread(teacher.entered.wait, 10)
        second = asyncio.create_task(batcher.ask(some_images(10)))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="10 images wait for the model, 16 may"):
            await batcher.ask(some_images(7))
        teacher.release.set()
        assert [len(answer) for answer in await asyncio.gather(first, second)] == [16, 10]
        assert batcher.waiting == 0

    run(teacher, play, queue_images=16)


def test_a_failing_pass_fails_its_requests_and_nobody_elses() -> None:
    class FailsOnce(LinearTeacher):
        def infer(self, images: Any) -> Any:
            if not self.batches:
                self.batches.append(0)
                raise RuntimeError("first pass")
            return super().infer(images)

    async def play(batcher: Batcher) -> Any:
        return await asyncio.gather(
            batcher.ask(some_images(40)), batcher.ask(some_images(16, 1)), return_exceptions=True
        )

    failed, answered = run(FailsOnce(), play)
    assert isinstance(failed, RuntimeError)
    np.testing.assert_array_equal(answered, LinearTeacher().logits(some_images(16, 1)))


def test_a_request_that_was_given_up_does_not_disturb_the_others() -> None:
    async def play(batcher: Batcher) -> Any:
        given_up = asyncio.create_task(batcher.ask(some_images(4)))
        await asyncio.sleep(0)
        given_up.cancel()
        return await batcher.ask(some_images(5, 1))

    assert len(run(LinearTeacher(), play)) == 5
