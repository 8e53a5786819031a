"""`TableIndex`: what every index over a `VectorTable` has."""

from __future__ import annotations

from typing import ClassVar

from itemspace.core.contracts import Index
from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.bytes import IndexBytes
from itemspace.index.table import VectorTable


class TableIndex(Index):
    """An index whose record is a table of dense vectors, there once `build` or `open` made it."""

    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    _table: VectorTable | None = None

    @property
    def table(self) -> VectorTable:
        """The vectors.

        Raises:
            ContractError: nothing was built yet.
        """
        if self._table is None:
            raise ContractError(f"{type(self).__name__} is empty: call build first.")
        return self._table

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self.table.space

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def bytes(self) -> IndexBytes:
        """What it takes in memory and on disk: the vectors as they came, and which row each is."""
        table = self.table
        rows = 16 * table.rows.slots
        stored = table.rows.slots * table.space.dimension * table.dtype.itemsize
        return IndexBytes(len(self), {"originals": table.held, "rows": rows}, {"originals": stored, "rows": rows})
