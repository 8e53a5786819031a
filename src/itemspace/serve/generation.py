"""`Generation`: an opened Space that is closed when the last of its readers has left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itemspace.space import Space


class Generation:
    """An opened Space and who reads it; once retired, the last reader closes it."""

    def __init__(self, space: Space, mark: object) -> None:
        self.space, self.mark = space, mark
        self._lock = threading.Lock()
        self._readers = 0
        self._retired = False

    def enter(self) -> bool:
        """Count a reader in, unless it has been retired."""
        with self._lock:
            self._readers += not self._retired
            return not self._retired

    def leave(self) -> None:
        with self._lock:
            self._readers -= 1
            last = self._retired and self._readers == 0
        if last:
            self.space.close()

    def retire(self) -> None:
        with self._lock:
            last = not self._retired and self._readers == 0
            self._retired = True
        if last:
            self.space.close()


def opened(path: Path) -> Space:
    """The Space at `path`; what it takes is imported now."""
    from itemspace.space import Space

    return Space.open(path)
