"""What a writer remembers between writes, so that a price change need not scan a million rows to find one."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from itemspace.store.tables import Pinned, array_of

SMALL = 500
_MOST = 20_000


class Recent:
    """The items as of a pinned table, and the entries written since, by whom ever: all up to `version`."""

    def __init__(self, base: Pinned | None, version: int) -> None:
        self.version = self.first = version
        self.made = time.monotonic()
        self._base = base
        self._entries: dict[int, tuple[pa.Table, int]] = {}
        self._known = np.zeros(0, bool)
        if base is not None and len(base.keys.rows):
            self._known = np.zeros(int(base.keys.rows[-1]) + 1, bool)
            self._known[base.keys.rows] = True

    def unknown(self, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that were never put."""
        inside = rows < len(self._known)
        found = np.zeros(len(rows), bool)
        found[inside] = self._known[rows[inside]]
        return rows[~found]

    def lookup(self, rows: np.ndarray) -> pa.Table:
        """The newest entries of a few known `rows` (ascending), in that order."""
        fresh = [self._entries[row] for row in rows.tolist() if row in self._entries]
        parts = [table.slice(at, 1) for table, at in fresh]
        if len(parts) < len(rows):
            assert self._base is not None  # a known row was in the base or was written since
            old = np.array([row for row in rows.tolist() if row not in self._entries], np.int32)
            parts.append(self._base.lookup(old))
        table = pa.concat_tables(parts)
        return table.take(pa.array(np.argsort(array_of(table, "_row"))))

    def add(self, entries: pa.Table) -> bool:
        """Remember entries just written; False when there are too many, and it is time to start anew."""
        if entries.num_rows > SMALL or len(self._entries) + entries.num_rows > _MOST:
            return False
        rows = array_of(entries, "_row")
        grow = int(rows.max()) + 1 - len(self._known)
        if grow > 0:
            spare = np.zeros(max(grow, len(self._known) // 4), bool)
            self._known = np.concatenate([self._known, spare])
        self._known[rows] = True
        self._entries.update({row: (entries, at) for at, row in enumerate(rows.tolist())})
        return True
