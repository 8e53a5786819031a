"""How often a caller may ask: a token bucket each."""

from __future__ import annotations

import time
from collections.abc import Callable

MOST_CALLERS = 20_000
"""Buckets kept; above it those that have filled up again are forgotten, which changes nothing for their callers."""


class RateLimit:
    """`rate` requests a second per caller, `burst` of them at once; 0 for no limit.

    Every process counts by itself. Memory stays bounded: a flood of callers makes full buckets forgotten first, and then the
    oldest.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, caller: str) -> float:
        """Take one request from the caller's bucket: 0.0 if there was one, else the seconds until there is."""
        if not self.rate:
            return 0.0
        now = self._clock()
        tokens, before = self._buckets.pop(caller, (float(self.burst), now))  # the latest asked last
        tokens = min(self.burst, tokens + (now - before) * self.rate)
        short = max(0.0, 1.0 - tokens)
        self._buckets[caller] = (tokens if short else tokens - 1.0, now)
        if len(self._buckets) > MOST_CALLERS:
            self._forget(now)
        return short / self.rate

    def _forget(self, now: float) -> None:
        full = [name for name, (tokens, at) in self._buckets.items() if tokens + (now - at) * self.rate >= self.burst]
        for name in full or list(self._buckets)[: MOST_CALLERS // 10]:
            del self._buckets[name]
