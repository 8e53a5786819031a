"""`Frame`: a table as it was loaded, which still knows the file and record number of every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Frame:
    """`table` [n rows] read from `file`; `rows` int64 [n] are record numbers in it, from 1, a header not counted."""

    table: pa.Table
    file: str
    rows: np.ndarray

    @classmethod
    def of(cls, table: pa.Table, file: str) -> Frame:
        """A table whose rows are the file's records, all of them, in order."""
        return cls(table, file, np.arange(1, table.num_rows + 1))

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def names(self) -> list[str]:
        return list(self.table.column_names)

    def __contains__(self, column: object) -> bool:
        return column in self.table.column_names

    def column(self, name: str) -> pa.Array:
        """One column as a single array."""
        column = self.table.column(name)
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

    def filter(self, keep: np.ndarray) -> Frame:
        """The rows where `keep` [n] is true."""
        if keep.all():
            return self
        return Frame(self.table.filter(pa.array(keep)), self.file, self.rows[keep])

    def take(self, at: np.ndarray) -> Frame:
        return Frame(self.table.take(pa.array(at)), self.file, self.rows[at])

    def with_column(self, name: str, values: pa.Array) -> Frame:
        """The same rows with a column replaced or added."""
        if name in self.table.column_names:
            at = self.table.column_names.index(name)
            return Frame(self.table.set_column(at, name, values), self.file, self.rows)
        return Frame(self.table.append_column(name, values), self.file, self.rows)

    def renamed(self, names: dict[str, str]) -> Frame:
        return Frame(self.table.rename_columns([names.get(n, n) for n in self.names]), self.file, self.rows)

    def select(self, names: list[str]) -> Frame:
        return Frame(self.table.select(names), self.file, self.rows)
