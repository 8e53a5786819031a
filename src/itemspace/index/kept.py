"""`Kept`: what an index derives of the selections it was asked with last."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import numpy as np

from itemspace.core.catalog import KEPT_FILTERS

T = TypeVar("T")

MOST_BYTES = 64 << 20
"""What is derived of all of them together takes at most about this; the latest stays whatever it takes."""


class Kept(Generic[T]):
    """Values by the rows they were derived from, the longest unused forgotten first. Several threads may use it.

    Rows are told by identity, as long as their array lives: a catalogue that is asked with the same filter gives the same
    array. It keeps as many as a catalogue keeps filters, so filters that come in turn find what was derived of them.

    size: the bytes of a value. Looked at when one is added, so it may grow in between.
    """

    def __init__(self, size: Callable[[T], int], *, most: int = KEPT_FILTERS, most_bytes: int = MOST_BYTES) -> None:
        self._size, self.most, self.most_bytes = size, most, most_bytes
        self._held: OrderedDict[tuple[str, int], tuple[weakref.ref[np.ndarray] | None, T]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def of(self, source: np.ndarray | int, make: Callable[[], T]) -> T:
        """What was derived of `source`, now by `make()` where it is not known. source: rows, or any number as itself."""
        rows = weakref.ref(source) if isinstance(source, np.ndarray) else None
        key = ("number", int(source)) if rows is None else ("rows", id(source))
        with self._lock:
            held = self._held.get(key)
            if held is not None and (held[0] is None or held[0]() is source):
                self._held.move_to_end(key)
                return held[1]
        made = make()
        with self._lock:
            self._held[key] = (rows, made)
            self._held.move_to_end(key)
            self._forget()
        return made

    def _forget(self) -> None:
        """What nobody can ask for again, then the longest unused, while there is too much."""
        for key, (source, _) in list(self._held.items()):
            if source is not None and source() is None:
                del self._held[key]
        taken = [self._size(value) for _, value in self._held.values()]
        while len(taken) > 1 and (len(taken) > self.most or sum(taken) > self.most_bytes):
            self._held.popitem(last=False)
            del taken[0]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._held.clear()


def bytes_of(value: Any) -> int:
    """The bytes of the arrays in a value: an array, a sequence of them, or something without any."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    return sum(map(bytes_of, value)) if isinstance(value, (tuple, list)) else 0
