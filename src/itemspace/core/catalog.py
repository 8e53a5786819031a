"""`Catalog`: the items, one row each, as an Arrow table with a schema and one identity per item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import DataError, SchemaError, shown
from itemspace.core.hashing import fingerprint
from itemspace.core.ids import Ids, string_ids
from itemspace.core.past import Past
from itemspace.core.schema import Schema
from itemspace.core.selection import Selection
from itemspace.core.taking import Cells, take_rows

if TYPE_CHECKING:
    from itemspace.core.where import Expression

KEPT_FILTERS = 16
"""Compiled filters a catalogue remembers."""
FEW_CHANGED = 1_024
"""Changed rows (or one of 16, where that is more) over which a filter is compiled anew by themselves."""


@dataclass(frozen=True)
class Catalog:
    """Items in row order: `table` row r describes the item `ids[r]`.

    Build one with `Catalog.from_table`, which assigns rows by a seeded permutation. `live` [n] marks rows that exist
    (a removed item keeps its row, so rows never move under an index); None means all do.
    """

    table: pa.Table
    schema: Schema
    ids: Ids
    live: np.ndarray | None = None

    @classmethod
    def from_table(
        cls, table: pa.Table, *, schema: Schema | None = None, overrides: Mapping[str, str] | None = None, seed: int = 0
    ) -> Catalog:
        """A catalogue over `table` (one row per item, any order).

        Raises:
            SchemaError: no ID column can be found.
            DataError: an ID is missing or occurs twice.
        """
        schema = schema or Schema.infer(table, overrides=overrides)
        external = string_ids(table.column(schema.id))
        if external.null_count:
            row = int(np.flatnonzero(np.asarray(external.is_null()))[0])
            raise DataError("the item ID is missing", row=row + 1, column=schema.id, count=external.null_count)
        order = Ids.order(external, seed=seed)
        ids = Ids(external.take(pa.array(order)))
        twice = ids.duplicates()
        if twice:
            rows = sorted((int(order[a]), int(order[b])) for a, b in twice)
            raise DataError(
                f'the ID "{ids[twice[0][0]]}" occurs more than once (rows {rows[0][0] + 1:,} and {rows[0][1] + 1:,})',
                column=schema.id,
                count=len(twice),
                hint="Keep one row per item, or read with duplicates='last' (--duplicates last).",
            )
        return cls(table.take(pa.array(order)), schema, ids)

    def __len__(self) -> int:
        return self.table.num_rows

    def __repr__(self) -> str:
        return f"Catalog({len(self):,} items, {len(self.schema.kinds)} columns)"

    @property
    def count(self) -> int:
        """Items that exist (rows less removed ones)."""
        return len(self) if self.live is None else int(self.live.sum())

    def column(self, name: str) -> pa.ChunkedArray:
        """One column in row order; an unknown name is refused with the nearest one."""
        self.schema[name]
        return self.table.column(name)

    def texts(self, columns: Sequence[str] | None = None, *, separator: str = " ") -> list[str]:
        """One string per row, the text columns (or `columns`) joined; missing values are left out."""
        return join_columns(self.table, columns or self.text_columns(), separator)

    def text_columns(self) -> list[str]:
        """The columns that describe an item in words: text first, then categories and lists."""
        found = self.schema.columns("text") + self.schema.columns("category", "list")
        return found

    def rows(self, items: Sequence[str]) -> np.ndarray:
        """Rows of external IDs, refusing unknown ones."""
        return self.ids.rows(items)

    def item(self, external: str) -> dict[str, Any]:
        """One item as a dictionary."""
        return self.table.slice(int(self.ids.rows([external])[0]), 1).to_pylist()[0]

    def chunks(self, size: int = 65_536) -> Iterator[Catalog]:
        """The catalogue in row order, `size` rows at a time (rows restart at 0 in each chunk's own table)."""
        for start in range(0, len(self), size):
            part = self.table.slice(start, size)
            live = None if self.live is None else self.live[start : start + size]
            yield Catalog(part, self.schema, Ids(self.ids.values.slice(start, size)), live)

    def take(self, rows: np.ndarray) -> Catalog:
        """The items at `rows`, as a catalogue of their own."""
        at = np.asarray(rows, np.int64)
        live = None if self.live is None else self.live[at]
        return Catalog(take_rows(self.table, at), self.schema, Ids(self.ids.values.take(pa.array(at))), live)

    def extended(self, table: pa.Table) -> Catalog:
        """This catalogue followed by new items (columns in this catalogue's schema; IDs not yet known)."""
        missing = [n for n in table.column_names if n not in self.schema.kinds]
        if missing:
            raise SchemaError(f"the catalogue has no column `{missing[0]}`.")
        tail = conform(table, self.table.schema)
        external = string_ids(tail.column(self.schema.id))
        live = None if self.live is None else np.concatenate([self.live, np.ones(len(external), bool)])
        return replace(self, table=pa.concat_tables([self.table, tail]), ids=self.ids.extended(external), live=live)

    def following(self, before: Catalog, rows: np.ndarray) -> Catalog:
        """This catalogue, which differs from `before` in `rows` [m] alone: changed, removed and (all of them) new ones.

        What `before` remembers of filters then holds here but for those rows, which are looked at when a filter comes
        again.
        """
        self.__dict__["_past"] = before._past.after(np.asarray(rows, np.int64))
        self.__dict__["_filters"] = dict(before._filters)
        return self

    def where(self, expression: str | Expression | Selection | None) -> Selection:
        """Compile a filter to the rows that match it (removed items never do); None for all there are.

        The last `KEPT_FILTERS` filters given as text are kept: most requests of a server repeat a few, and an index that
        sees the same rows again need not place them again. A changed catalogue is another one, with nothing kept but
        what it is told by `following`.

        Raises:
            FilterError: the expression cannot be parsed or does not fit the columns.
        """
        from itemspace.core.where import compile_where

        if isinstance(expression, Selection):
            return expression
        if expression is not None and not isinstance(expression, str):
            return compile_where(expression, self)
        known = self._filters.pop(expression, None)
        found = compile_where(expression, self) if known is None else self._since(expression, *known)
        self._filters[expression] = (found, self._past)  # the latest last
        for old in list(self._filters)[:-KEPT_FILTERS]:
            self._filters.pop(old, None)
        return found

    def where_since(self, expression: Expression, found: Selection, before: Catalog) -> Selection:
        """`where(expression)`, given what `before.where(expression)` found; the same rows array where it is the same.

        Only the rows that changed in between are looked at, where they are known and few.
        """
        return self._since(expression, found, before._past)

    def _since(self, expression: str | Expression | None, found: Selection, past: Past) -> Selection:
        from itemspace.core.where import compile_where, recompiled

        if past is self._past:
            return found
        changed = self._past.since(past)
        if changed is None or len(changed) > max(FEW_CHANGED, len(self) // 16):
            return compile_where(expression, self)
        return recompiled(expression, self, found, changed)

    @cached_property
    def _filters(self) -> dict[str | None, tuple[Selection, Past]]:
        """Compiled filters by their text and what they were compiled over, the longest unused first; at most 5 bytes an
        item each."""
        return {}

    @cached_property
    def _past(self) -> Past:
        return Past()

    @cached_property
    def cells(self) -> Cells:
        """Single values of its items."""
        return Cells(self.table)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the items' content."""
        return fingerprint(self.table, self.schema.to_json())


def join_columns(table: pa.Table, columns: Sequence[str], separator: str = " ") -> list[str]:
    """One string per row from several columns; lists are spelt out, missing values skipped."""
    parts: list[list[str]] = []
    for name in columns:
        column = table.column(name)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            parts.append([" ".join(str(x) for x in v if x is not None) if v else "" for v in column.to_pylist()])
        else:
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            parts.append(column.cast(pa.large_string()).fill_null("").to_pylist())
    if not parts:
        return [""] * table.num_rows
    if len(parts) == 1:
        return parts[0]
    return [separator.join(p for p in row if p) for row in zip(*parts, strict=True)]


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns and types of `schema`; absent columns become null.

    Raises:
        DataError: a value does not fit its column's type.
    """
    columns = []
    for entry in schema:
        if entry.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, entry.type))
            continue
        column = table.column(entry.name)
        try:
            columns.append(column.cast(entry.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            row = first_unfit(column, entry.type)
            value = column[row].as_py()
            hint = "Correct it, or leave it out where it is not known."
            raise DataError(f"{unfit(value, entry.type)}.", row=row + 1, column=entry.name, hint=hint) from None
    return pa.table(columns, schema=schema)


def first_unfit(column: pa.Array | pa.ChunkedArray, kind: pa.DataType) -> int:
    """The first row whose value cannot be cast to `kind`. Halving: a slice fails when and only when one of it does."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(kind)
            low = middle
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            high = middle
    return low


def unfit(value: object, kind: pa.DataType) -> str:
    """In words: `value` is not what a column of `kind` holds."""
    if pa.types.is_integer(kind):
        what = "a whole number" if isinstance(value, float) else "a number"
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        what = "a number"
    elif pa.types.is_boolean(kind):
        what = "true or false"
    elif pa.types.is_temporal(kind):
        what = "a date or time such as 2024-05-31"
    else:
        what = f"of the column's type, {kind}"
    return f'"{shown(value)}" is not {what}'
