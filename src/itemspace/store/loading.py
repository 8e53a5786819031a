"""What writes of many pieces share: rows that may be named once, and events numbered as they come."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from itemspace.core.errors import DataError
from itemspace.store.columns import checked_rows
from itemspace.store.tables import VERSION


class Given:
    """The rows that the pieces of one write have named so far."""

    def __init__(self) -> None:
        self._named = np.zeros(0, bool)

    def new(self, rows: np.ndarray, n: int) -> np.ndarray:
        """`rows` checked: int32 [n], distinct, none of them in a piece before."""
        rows = checked_rows(rows, n)
        most = int(rows.max(initial=-1)) + 1
        if most > len(self._named):
            self._named = np.concatenate(
                [self._named, np.zeros(max(most, 2 * len(self._named)) - len(self._named), bool)]
            )
        if self._named[rows].any():
            raise DataError(f"row {int(rows[self._named[rows]][0]):,} is given twice.")
        self._named[rows] = True
        return rows


def stamped_events(table: pa.Table, version: int, first: int) -> pa.Table:
    """Events with the version that brings them, and their numbers from `first`."""
    n = table.num_rows
    table = table.append_column(VERSION, pa.array(np.full(n, version, np.int64)))
    return table.append_column(pa.field("_sequence", pa.int64()), pa.array(np.arange(first, first + n, dtype=np.int64)))
