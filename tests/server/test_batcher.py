import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.batcher import SMALLEST_BATCH, Batcher
from shared.errors import Unavailable
from tests.fakes import LinearTeacher
from tests.server.asking import some_images


def run(
    teacher: LinearTeacher,
    play: Callable[[Batcher], Any],
    *,
    model_batch: int = 16,
    queue_images: int = 10_000,
    queue_bytes: int = 10**9,
) -> Any:
    batcher = Batcher(teacher.infer, model_batch=model_batch, queue_images=queue_images, queue_bytes=queue_bytes)
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


@pytest.mark.parametrize(
    ("bounds", "words"),
    [({"queue_images": 16}, "10 of 16 images"), ({"queue_bytes": 1024}, "640 of 1024 bytes, and 7 images came")],
)
def test_a_full_queue_refuses_by_images_and_by_bytes_and_what_it_holds_is_answered(
    bounds: dict[str, int], words: str
) -> None:
    async def play(batcher: Batcher) -> None:
        with batcher.place(some_images(10)):
            with pytest.raises(Unavailable, match=words), batcher.place(some_images(7)):
                pass
            with batcher.place(some_images(6)):
                assert len(await batcher.ask(some_images(6))) == 6
        assert (batcher.held_images, batcher.held_bytes) == (0, 0)

    run(LinearTeacher(), play, **bounds)


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
