"""What a column of items may hold, and how it is kept."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import conform
from itemspace.core.errors import DataError, SchemaError, nearest
from itemspace.store.contract import EVENT_SCHEMA


def kept_type(name: str, kind: pa.DataType) -> pa.DataType:
    """The type a column is kept as: itself, or the decoded type of a dictionary.

    Raises:
        SchemaError: a nested or otherwise unsupported type.
    """
    if pa.types.is_dictionary(kind):
        return kept_type(name, kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = kept_type(name, kind.value_type)
        if _plain(inner):
            return pa.large_list(inner) if pa.types.is_large_list(kind) else pa.list_(inner)
    elif pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        return pa.list_(kind.value_type, kind.list_size)
    elif _plain(kind):
        return kind
    raise SchemaError(
        f"columns of type {kind} are not kept.",
        column=name,
        hint="Strings, numbers, booleans, dates, times and lists of them are; write nested values as JSON text.",
    )


def _plain(kind: pa.DataType) -> bool:
    t = pa.types
    text = t.is_string(kind) or t.is_large_string(kind)
    number = t.is_integer(kind) or t.is_floating(kind) or t.is_decimal128(kind)
    return text or number or t.is_boolean(kind) or t.is_date(kind) or t.is_timestamp(kind)


def kept_schema(schema: pa.Schema, id_column: str) -> pa.Schema:
    """The columns of items as they are kept.

    Raises:
        SchemaError: a reserved or repeated name, an unsupported type, or no ID column.
    """
    if id_column not in schema.names:
        raise SchemaError(f"no ID column `{id_column}`.{nearest(id_column, schema.names)}")
    fields = []
    for entry in schema:
        if entry.name.startswith("_"):
            raise SchemaError('names that begin with "_" are reserved.', column=entry.name, hint="Rename the column.")
        if schema.names.count(entry.name) > 1:
            raise SchemaError("the name occurs more than once.", column=entry.name)
        fields.append(pa.field(entry.name, kept_type(entry.name, entry.type)))
    return pa.schema(fields)


def conform_items(table: pa.Table, schema: pa.Schema, id_column: str) -> pa.Table:
    """`table` in the columns of `schema`; absent ones become null.

    Raises:
        SchemaError: an unknown column, or no ID column.
        DataError: a missing ID, or a value that does not fit.
    """
    check_known(table, schema)
    if id_column not in table.column_names:
        raise SchemaError(f"the ID column `{id_column}` is missing.")
    ids = table.column(id_column)
    if ids.null_count:
        row = pc.index(pc.is_null(ids), True).as_py()
        raise DataError("the item ID is missing", row=row + 1, column=id_column, count=ids.null_count)
    return conform(decoded(table), schema)


def conform_some(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` in the types of `schema`, its own columns only.

    Raises:
        SchemaError: an unknown column.
        DataError: a value that does not fit.
    """
    check_known(table, schema)
    return conform(decoded(table), pa.schema([schema.field(name) for name in table.column_names]))


def conform_events(table: pa.Table) -> pa.Table:
    """`table` in the columns of events.

    Raises:
        SchemaError: an unknown column.
        DataError: a user or item is missing, or a value does not fit.
    """
    check_known(table, EVENT_SCHEMA)
    for name in ("user", "item"):
        if name not in table.column_names:
            raise SchemaError(f"events need a column `{name}`.")
        column = table.column(name)
        if column.null_count:
            row = pc.index(pc.is_null(column), True).as_py()
            raise DataError("the ID is missing", row=row + 1, column=name, count=column.null_count)
    return conform(decoded(table), EVENT_SCHEMA)


def check_known(table: pa.Table, schema: pa.Schema) -> None:
    """Refuse columns that `schema` does not have."""
    for name in table.column_names:
        if name not in schema.names:
            raise SchemaError(f"no column `{name}`.{nearest(name, schema.names)} Columns: {', '.join(schema.names)}.")


def decoded(table: pa.Table) -> pa.Table:
    """Dictionary columns as their values."""
    for i, entry in enumerate(table.schema):
        if pa.types.is_dictionary(entry.type):
            table = table.set_column(i, entry.name, table.column(i).cast(entry.type.value_type))
    return table


def checked_rows(rows: np.ndarray, n: int | None = None) -> np.ndarray:
    """`rows` as int32 [n], distinct and not negative."""
    given = np.asarray(rows)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and len(given)):
        raise DataError("rows must be a flat array of integers.")
    if n is not None and len(given) != n:
        raise DataError(f"{len(given):,} rows were given for {n:,} entries.")
    if len(given) and (int(given.min()) < 0 or int(given.max()) > np.iinfo(np.int32).max):
        raise DataError("a row is negative or beyond 2^31 - 1.")
    values = given.astype(np.int32)
    ordered = np.sort(values)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise DataError(f"row {int(ordered[twice[0]]):,} is given twice.", count=len(twice))
    return values


def checked_matrix(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """Vectors as float16 or float32 [n, d], all finite."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] == 0 or values.dtype not in (np.float16, np.float32):
        raise DataError(f"the vectors `{name}` must be float16 or float32 [n, d], not {values.dtype} {values.shape}.")
    if len(values) != n:
        raise DataError(f"{len(values):,} vectors `{name}` were given for {n:,} rows.")
    finite = np.isfinite(values).all(1)
    if not finite.all():
        raise DataError(
            f"a vector of `{name}` is not finite.", row=int(finite.argmin()) + 1, count=int((~finite).sum())
        )
    return values


def plainly(column: pa.Array, plain: pa.DataType) -> pa.Array:
    """Values in the type they are exchanged as: times as ticks, half floats as floats."""
    kind = column.type
    if pa.types.is_date64(kind):  # days in milliseconds: a cast would ask for whole days only
        return column.view(pa.int64())
    return column if kind == plain else column.cast(plain)
