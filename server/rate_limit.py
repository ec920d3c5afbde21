"""How fast a key may ask: images per minute, on a sliding window. How much it may ask is the budget's business."""

import math
from dataclasses import dataclass
from typing import Any

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError

from server.ledger.protocol import Client
from shared.errors import InvalidConfig, InvalidRequest, RateLimited, Unavailable

WINDOW_SECONDS = 60
STORE_SECONDS = 2.0
"""How long the shared store may take to connect, and to answer."""


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
    """Counts images by client: in this process's memory, or in a store that several processes share."""

    def __init__(self, storage: MemoryStorage | RedisStorage) -> None:
        self._storage = storage
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    async def admit(self, client: Client, images: int) -> None:
        """Count `images`, or refuse them.

        Raises:
            InvalidRequest: more than the key may ever ask about at once; waiting would not help.
            RateLimited: too many just now; `retry_after` says when they fit.
            Unavailable: the shared store does not answer. Nothing is admitted that cannot be counted.
        """
        limit = client.account.images_per_minute
        if images > limit:
            raise InvalidRequest(
                f"Key '{client.account.name}' may ask about {limit} images per minute, this request holds {images}. "
                "Split it into smaller ones."
            )
        try:
            if await self._limiter.hit(RateLimitItemPerMinute(limit), str(client.id), cost=images):
                return
            seconds = max(1, math.ceil((await self._window(client)).wait(images, limit)))
        except StorageError:
            raise Unavailable(
                "The store of the rate limits does not answer. Send the same again.", retry_after=1
            ) from None
        raise RateLimited(
            f"Key '{client.account.name}' may ask about {limit} images per minute; {images} more fit in {seconds} s.",
            retry_after=seconds,
        )

    async def headers(self, client: Client) -> dict[str, str]:
        """Where the client stands, as headers; none while the store does not answer: a paid answer is sent anyway."""
        try:
            return (await self.state(client)).headers
        except StorageError:
            return {}

    async def state(self, client: Client) -> RateState:
        """Where the client stands."""
        limit, window = client.account.images_per_minute, await self._window(client)
        return RateState(limit, max(0, limit - math.floor(window.used())), math.ceil(window.left))

    async def close(self) -> None:
        """Close the connections to a shared store."""
        if isinstance(self._storage, RedisStorage) and isinstance(self._storage.bridge, RedispyBridge):
            connection: Any = self._storage.bridge.get_connection()  # its published type lacks `aclose`
            await connection.aclose()

    async def _window(self, client: Client) -> _Window:
        item = RateLimitItemPerMinute(client.account.images_per_minute)
        previous, _, current, current_left = await self._storage.get_sliding_window(
            item.key_for(str(client.id)), WINDOW_SECONDS
        )
        return _Window(previous, current, current_left - WINDOW_SECONDS)


def open_rate_limiter(url: str) -> RateLimiter:
    """A limiter on `memory://`, or on the Redis or Valkey at `redis://HOST:PORT` or `rediss://HOST:PORT`.

    Raises:
        InvalidConfig: another kind of URL, or the client library is not installed.
    """
    scheme = url.partition("://")[0]
    if scheme == "memory":
        return RateLimiter(MemoryStorage())
    if scheme not in ("redis", "rediss"):
        raise InvalidConfig(
            f"There is no store of rate limits for '{scheme}://'. Give memory:// or redis://HOST:PORT."
        )
    try:
        return RateLimiter(
            RedisStorage(
                f"async+{url}",
                wrap_exceptions=True,
                implementation="redispy",
                socket_timeout=STORE_SECONDS,
                socket_connect_timeout=STORE_SECONDS,
            )
        )
    except ConfigurationError:
        raise InvalidConfig(
            "Rate limits in Redis or Valkey need a client library: pip install '.[server,redis]'."
        ) from None
