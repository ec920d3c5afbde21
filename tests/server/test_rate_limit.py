import asyncio
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.ledger.protocol import Account, Client
from server.rate_limit import WINDOW_SECONDS, RateState, _Window, open_rate_limiter
from shared.errors import InvalidRequest, RateLimited


def client(images_per_minute: int, id: int = 1) -> Client:
    return Client(id, Account("edge-1", 1000, "logits", images_per_minute), 0, None, b"")


def test_clients_are_counted_apart() -> None:
    async def play() -> None:
        limiter = open_rate_limiter("memory://")
        await limiter.admit(client(10), 10)
        await limiter.admit(client(10, id=2), 10)
        with pytest.raises(RateLimited):
            await limiter.admit(client(10), 1)

    asyncio.run(play())


def test_refused_images_are_not_counted() -> None:
    async def play() -> RateState:
        limiter = open_rate_limiter("memory://")
        await limiter.admit(client(10), 6)
        for _ in range(5):
            with pytest.raises(RateLimited):
                await limiter.admit(client(10), 5)
        with pytest.raises(InvalidRequest):
            await limiter.admit(client(10), 11)
        return await limiter.state(client(10))

    assert asyncio.run(play()).remaining == 4


@given(st.integers(0, 100), st.integers(0, 100), st.floats(0.1, 60), st.integers(1, 100))
def test_after_the_wait_the_images_fit_and_just_before_they_did_not(
    previous: int, current: int, left: float, images: int
) -> None:
    limit = 100
    window = _Window(previous, current, left)
    assume(math.floor(window.used()) + images > limit)
    wait = window.wait(images, limit)
    assert wait > -WINDOW_SECONDS / max(previous, 1)  # the limiter rounds the used images down
    assert used_after(window, wait + 1e-6) + images <= limit + 1e-6
    if wait > 1:
        assert used_after(window, wait - 1) + images > limit


def used_after(window: _Window, seconds: float) -> float:
    if seconds < window.left:
        return _Window(window.previous, window.current, window.left - seconds).used()
    return _Window(window.current, 0, max(0.0, WINDOW_SECONDS - (seconds - window.left))).used()
