"""Rows that callers hand to a change, as columns that fit: every refusal names the row, the column and the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog, unfit
from itemspace.core.errors import DataError, SchemaError, shown

_NOT_A_COLUMN = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError)


def as_table(given: Any, like: pa.Schema | None = None, *, alike: bool = False) -> pa.Table:
    """A table from a table, a catalogue, or dictionaries.

    like: the types that columns known by name are to have. alike: refuse dictionaries of different keys, where a key left
    out would not mean the same as one that is missing.

    NaN becomes missing, as in the files that pandas writes.

    Raises:
        DataError: the rows cannot be put into columns, or a number is infinite.
        SchemaError: two columns have one name.
    """
    if isinstance(given, Catalog):
        given = given.table
    table = given if isinstance(given, pa.Table) else _table(given, like, alike)
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise SchemaError("two columns have this name.", column=name, hint="Rename one of them.")
    for at, name in enumerate(table.column_names):
        column = table.column(name)
        if pa.types.is_floating(column.type):
            table = table.set_column(at, name, finite(column, name))
    return table


def finite(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of floating-point numbers with NaN as missing.

    Raises:
        DataError: a number is infinite.
    """
    infinite = np.flatnonzero(np.asarray(pc.is_inf(column).fill_null(False)))
    if len(infinite):
        raise DataError(
            f'"{column[int(infinite[0])].as_py()}" is not a finite number.',
            row=int(infinite[0]) + 1,
            column=name,
            count=len(infinite),
            hint="Give a number, or None where it is not known.",
        )
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _table(given: Any, like: pa.Schema | None, alike: bool) -> pa.Table:
    rows = _rows(given)
    names = list(dict.fromkeys(name for row in rows for name in row))
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise DataError(f"column names are text, got {strange!r}.")
    short = next((at for at, row in enumerate(rows) if len(row) < len(names)), None) if alike else None
    if short is not None:
        missing = next(name for name in names if name not in rows[short])
        raise DataError(
            f"the row leaves out `{missing}`, which other rows change.",
            row=short + 1,
            column=missing,
            hint="Give every row the same columns, or make two calls. None clears a value.",
        )
    known = {} if like is None else {field.name: field.type for field in like}
    return pa.table({name: _column(name, [row.get(name) for row in rows], known.get(name)) for name in names})


def _rows(given: Any) -> list[Mapping[str, Any]]:
    if isinstance(given, Mapping):
        return [given]
    if not isinstance(given, Sequence) or isinstance(given, (str, bytes)):
        raise DataError(
            f"rows come as a table or as dictionaries, one per row; got {type(given).__name__} {shown(repr(given))}."
        )
    for at, row in enumerate(given):
        if not isinstance(row, Mapping):
            raise DataError(
                f"a row is a dictionary of column and value; got {type(row).__name__} {shown(repr(row))}.", row=at + 1
            )
    return list(given)


def _column(name: str, values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """The values as one array, in the type Arrow finds for them.

    Raises:
        DataError: they have no type in common; names the first that does not fit `kind`, or those before it.
    """
    try:
        return pa.array(values)
    except _NOT_A_COLUMN:
        pass
    for at, value in enumerate(values):  # only where something is wrong
        try:
            one = pa.array([value])
            if kind is not None:
                one.cast(kind)
        except UnicodeEncodeError:
            raise DataError(f'"{shown(value)}" is not valid Unicode text.', row=at + 1, column=name) from None
        except _NOT_A_COLUMN:
            told = f'"{shown(value)}" cannot be stored' if kind is None else unfit(value, kind)
            hint = "Correct it, or leave it out where it is not known."
            raise DataError(f"{told}.", row=at + 1, column=name, hint=hint) from None
    if kind is not None:
        try:
            return pa.concat_arrays([pa.array([value]).cast(kind) for value in values])
        except _NOT_A_COLUMN:
            pass
    kinds = " and ".join(sorted({type(value).__name__ for value in values if value is not None}))
    raise DataError(f"the values are of different types ({kinds}).", column=name, hint="Give one type per column.")
