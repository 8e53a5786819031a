"""`ExactSearch`: the k best of a table, in float32 or through an int8 copy, whichever costs less. Same answers."""

from __future__ import annotations

import importlib.util
import sys
import threading
from typing import Literal

import numpy as np

from itemspace.index.narrow import WIDEST, Narrow, fast_int8
from itemspace.index.narrow_scan import narrow_scan
from itemspace.index.rows import Allowed
from itemspace.index.table import VectorTable

CopyChoice = Literal["auto", "always", "never"]

LIMIT = 1 << 30
"""Bytes a copy may take unless it is asked for."""
COPYING = 150
"""Products per value (of a large batch) that copying takes as long as."""
IMPORTING = 1e11
"""Products in float32 that importing torch takes as long as."""
SMALLEST = 8
"""A batch of fewer queries is bound by memory, and costs as much as this many."""
SHORT = 1e8
"""Products below which a scan is too short to gain: about two milliseconds."""
ENOUGH = 64
"""Queries after which it is judged whether a copy is of use."""


class ExactSearch:
    """Searches of one table. With "auto" a copy is made when float32 scans have cost as much as making it would.

    So whoever searches little never pays for a copy, and whoever searches much pays at most double until it is there.
    A copy that turns out too coarse for these vectors (their distances are small beside their lengths, or most of them
    are nearly equal) is dropped.
    """

    def __init__(self, table: VectorTable, choice: CopyChoice = "auto") -> None:
        self.table, self.choice = table, choice
        self._copy: Narrow | None = None
        self._spent = 0.0
        self._asked = self._given_up = 0
        self._lock = threading.Lock()

    def search(self, queries: np.ndarray, k: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
        """The k best allowed rows of float32 queries [q, d]: rows int32 and scores float32 [q, k]."""
        table = self.table
        n = table.rows.slots if allowed.slots is None else len(allowed.slots)
        width = min(k, table.rows.slots)
        cost = float(n) * max(len(queries), SMALLEST) * table.space.dimension
        # With a k near n nearly every vector is a candidate.
        plain = self.choice == "never" or allowed.include is not None or cost < SHORT or n < 64 * width
        copy = None if plain or not len(queries) else self._current(cost)
        if copy is None:
            return table.search(queries, k, allowed)
        group, slots, given_up = narrow_scan(table, copy, queries, width, allowed)
        self._asked, self._given_up = self._asked + len(queries), self._given_up + given_up
        if self._asked >= ENOUGH and self._given_up > 0.25 * self._asked:
            self.choice, self._copy = "never", None
        return table.rank(queries, group, slots, k)

    def _current(self, cost: float) -> Narrow | None:
        """The copy, covering every slot, or None where float32 is the better (or only) way for a search of this cost."""
        table = self.table
        if self._copy is None:
            size = table.rows.slots * table.space.dimension
            price = COPYING * size + (0.0 if "torch" in sys.modules else IMPORTING)
            self._spent += cost
            wanted = self.choice == "always" or (size <= LIMIT and self._spent >= price)
            if not wanted or not possible(table.space.dimension):
                return None
        with self._lock:
            self._copy = Narrow.of(table) if self._copy is None else self._copy.grown(table)
            return self._copy if self._copy.finite else None


def possible(dimension: int) -> bool:
    """Whether vectors of this width can be searched through an int8 copy here: torch is there and the hardware fast."""
    return dimension <= WIDEST and importlib.util.find_spec("torch") is not None and fast_int8()
