"""How often a caller may ask: a token bucket each, in one process or shared by the workers of a server."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

MOST_CALLERS = 20_000
"""Buckets kept; above it those that have filled up again are forgotten, which changes nothing for their callers."""
NAME = "RATES"
_BUCKET = struct.Struct("=Qdd")
_WAYS, _SETS = 8, 4_096
"""A shared table has so many places for a caller, one of so many groups of them."""
_TRIES, _PAUSE_S = 20, 0.0001
"""How long a worker waits for another that is at the table; then it goes on without it."""


class Buckets(Protocol):
    """Where buckets are kept."""

    def draw(self, caller: str, now: float, rate: float, burst: int) -> float:
        """Take one token from the caller's bucket: 0.0 if there was one, else what was missing of one."""
        ...


class RateLimit:
    """`rate` requests a second per caller, `burst` of them at once; 0 for no limit.

    shared: a folder that the workers of one server have in common, who then count together; without one a process counts
    by itself. Memory stays bounded: a flood of callers makes full buckets forgotten first, and then the oldest.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic, *, shared: Path | None = None
    ) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self.buckets: Buckets = SharedBuckets(shared / NAME) if rate and shared is not None else OwnBuckets()

    def wait(self, caller: str) -> float:
        """Take one request from the caller's bucket: 0.0 if there was one, else the seconds until there is."""
        if not self.rate:
            return 0.0
        return self.buckets.draw(caller, self._clock(), self.rate, self.burst) / self.rate


def _drawn(tokens: float, before: float, now: float, rate: float, burst: int) -> tuple[float, float]:
    """What a bucket holds after a request `now`, and what it lacked for it."""
    tokens = min(burst, tokens + (now - before) * rate)
    short = max(0.0, 1.0 - tokens)
    return (tokens if short else tokens - 1.0), short


class OwnBuckets:
    """Buckets of one process."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def draw(self, caller: str, now: float, rate: float, burst: int) -> float:
        tokens, before = self._held.pop(caller, (float(burst), now))  # the latest asked last
        left, short = _drawn(tokens, before, now, rate, burst)
        self._held[caller] = (left, now)
        if len(self._held) > MOST_CALLERS:
            full = [name for name, (held, at) in self._held.items() if held + (now - at) * rate >= burst]
            for name in full or list(self._held)[: MOST_CALLERS // 10]:
                del self._held[name]
        return short


class SharedBuckets:
    """Buckets in a mapped file of fixed size: a caller's is one of eight places, told by a hash of its name.

    Times are of `time.monotonic`, which all processes of a machine have in common.
    """

    def __init__(self, path: Path) -> None:
        size = _BUCKET.size * _WAYS * _SETS
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._handle).st_size < size:
            os.ftruncate(self._handle, size)  # holes: what nobody asked for takes no room
        self._memory = mmap.mmap(self._handle, size)

    def draw(self, caller: str, now: float, rate: float, burst: int) -> float:
        name = int.from_bytes(hashlib.blake2b(caller.encode("utf-8", "surrogateescape"), digest_size=8).digest()) or 1
        first = name % _SETS * _WAYS * _BUCKET.size
        with self._alone():
            held = list(_BUCKET.iter_unpack(self._memory[first : first + _WAYS * _BUCKET.size]))
            place = next((at for at, (key, _, _) in enumerate(held) if key == name), None)
            if place is None:
                # A free place, or one whose bucket is full again, or the oldest.
                full = [key == 0 or tokens + (now - at) * rate >= burst for key, tokens, at in held]
                place = min(range(_WAYS), key=lambda at: (not full[at], held[at][2]))
                tokens, before = float(burst), now
            else:
                _, tokens, before = held[place]
            left, short = _drawn(tokens, before, max(now, before), rate, burst)
            _BUCKET.pack_into(self._memory, first + place * _BUCKET.size, name, left, max(now, before))
        return short

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other workers out. One that hangs at the table is not waited for: at worst a request is not counted."""
        held = False
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
                break
            except OSError:
                time.sleep(_PAUSE_S)
        try:
            yield
        finally:
            if held:
                fcntl.flock(self._handle, fcntl.LOCK_UN)
