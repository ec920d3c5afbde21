"""What the server's limit of images per minute will do to a run, foreseen.

The server counts by minutes of its clock and slides between them: a question is admitted while

    images of this minute + images of the last one x share of this minute that is left + images asked  <=  limit

and is otherwise refused with the whole seconds after which it fits. How far a minute has gone when the first question
comes is not known beforehand; half is assumed, so that a time is at most half a minute off. How many questions are
refused does not depend on it where they come one right after the other.
"""

import math
from collections import Counter

WINDOW_SECONDS = 60


class SlidingWindow:
    """A key's images by minute. Nobody else uses the key, now or in the minute before."""

    def __init__(self, images_per_minute: int) -> None:
        self._limit = images_per_minute
        self._asked: Counter[int] = Counter()
        """Images by number of the minute."""

    def admit(self, images: int, now: float) -> int:
        """Count `images` at `now`, in seconds, and return 0; or return the whole seconds after which they fit."""
        minute, gone = divmod(now, WINDOW_SECONDS)
        left = WINDOW_SECONDS - gone
        current, previous = self._asked[int(minute)], self._asked[int(minute) - 1]
        if math.floor(current + previous * left / WINDOW_SECONDS) + images <= self._limit:
            self._asked[int(minute)] += images
            return 0
        if current + images <= self._limit:  # once enough of the last minute has slid out
            seconds = left - (self._limit - images - current) * WINDOW_SECONDS / previous
        else:  # once enough of this minute has
            seconds = left + WINDOW_SECONDS * (1 - (self._limit - images) / current)
        return max(1, math.ceil(seconds))
