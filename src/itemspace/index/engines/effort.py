"""`Effort`: a setting of a whole engine that searches of several threads want to differ in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Effort:
    """Searches of equal effort go together; one of another effort waits for those under way, and later ones for it."""

    def __init__(self, assign: Callable[[int], object]) -> None:
        self._assign = assign
        self._door = threading.Lock()
        self._idle = threading.Condition()
        self._searching, self._set = 0, -1

    @contextmanager
    def at(self, effort: int) -> Iterator[None]:
        """The engine searches with `effort` inside."""
        with self._door, self._idle:
            if effort != self._set:
                while self._searching:
                    self._idle.wait()
                self._assign(effort)
                self._set = effort
            self._searching += 1
        try:
            yield
        finally:
            with self._idle:
                self._searching -= 1
                if not self._searching:
                    self._idle.notify_all()
