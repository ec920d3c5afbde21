"""How fast a key may ask: images per minute, on a sliding window. How much it may ask is the budget's business."""

import math
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from server.ledger.protocol import Client
from shared.errors import InvalidRequest, RateLimited

WINDOW_SECONDS = 60


@dataclass(frozen=True)
class RateState:
    """Images that a key may ask about at once now, and seconds until its present window ends."""

    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit` as structured fields of the IETF draft."""
        return {
            "RateLimit-Policy": f'"images";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"images";r={self.remaining};t={self.reset}',
        }


@dataclass(frozen=True)
class _Window:
    """Counts of the limiter: images in the last window and in this one, seconds left of this one."""

    previous: int
    current: int
    left: float

    def used(self) -> float:
        return self.current + self.previous * self.left / WINDOW_SECONDS

    def wait(self, images: int, limit: int) -> float:
        """Seconds until `images` more fit under `limit`, if nobody else asks. `images` <= `limit`."""
        if self.current + images <= limit:
            return self.left - (limit - images - self.current) * WINDOW_SECONDS / max(self.previous, 1)
        return self.left + WINDOW_SECONDS * (1 - (limit - images) / self.current)


class RateLimiter:
    """Counts images by client, in this process's memory."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def admit(self, client: Client, images: int) -> None:
        """Count `images`, or refuse them.

        Raises:
            InvalidRequest: more than the key may ever ask about at once; waiting would not help.
            RateLimited: too many just now; `retry_after` says when they fit.
        """
        limit = client.account.images_per_minute
        if images > limit:
            raise InvalidRequest(
                f"Key '{client.account.name}' may ask about {limit} images per minute, this request holds {images}. "
                "Split it into smaller ones."
            )
        if await self._limiter.hit(RateLimitItemPerMinute(limit), str(client.id), cost=images):
            return
        seconds = max(1, math.ceil((await self._window(client)).wait(images, limit)))
        raise RateLimited(
            f"Key '{client.account.name}' may ask about {limit} images per minute; {images} more fit in {seconds} s.",
            retry_after=seconds,
        )

    async def state(self, client: Client) -> RateState:
        """Where the client stands."""
        limit, window = client.account.images_per_minute, await self._window(client)
        return RateState(limit, max(0, limit - math.floor(window.used())), math.ceil(window.left))

    async def _window(self, client: Client) -> _Window:
        item = RateLimitItemPerMinute(client.account.images_per_minute)
        previous, _, current, current_left = await self._storage.get_sliding_window(
            item.key_for(str(client.id)), WINDOW_SECONDS
        )
        return _Window(previous, current, current_left - WINDOW_SECONDS)
