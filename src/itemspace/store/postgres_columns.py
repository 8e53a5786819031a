"""Columns of items in PostgreSQL: which type keeps an Arrow type exactly, and how whole tables go over (COPY).

Times are kept as whole ticks of their unit (bigint), since PostgreSQL has no nanoseconds; text in the "C" collation, whose
order is that of code points. PostgreSQL's text holds no NUL: NUL is written as `ESCAPE` "0", and `ESCAPE` as `ESCAPE` "1".
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from itemspace.store.columns import plainly

ESCAPE = "\U0010f8fe"
"""A code point nobody may assign a character to."""
_MOST_NAME = 63
"""Bytes of a name in PostgreSQL; longer ones are cut, so that two of them could become one."""


@dataclass(frozen=True)
class Kept:
    """A column as PostgreSQL has it: `name` here and `column` there, its SQL type, and the Arrow type its values pass as.

    plain: Arrow type in which values are exchanged. inner: the same of a list's elements, None for others.
    """

    name: str
    column: str
    sql: str
    arrow: pa.DataType
    plain: pa.DataType
    inner: pa.DataType | None = None


def kept_columns(schema: pa.Schema) -> list[Kept]:
    """How the columns of items are kept, in order."""
    found = []
    for number, entry in enumerate(schema):
        # A percent sign in a statement would be read as the place of a parameter.
        usable = not set("\x00%") & set(entry.name) and len(entry.name.encode()) <= _MOST_NAME
        sql, plain, inner = _types(entry.type)
        found.append(Kept(entry.name, entry.name if usable else f"_c{number}", sql, entry.type, plain, inner))
    return found


def _types(kind: pa.DataType) -> tuple[str, pa.DataType, pa.DataType | None]:
    t = pa.types
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        sql, plain, _ = _types(kind.value_type)
        name, collated, collation = sql.partition(" COLLATE ")
        return f"{name}[]{collated}{collation}", pa.large_string(), plain
    if t.is_boolean(kind):
        return "boolean", kind, None
    if t.is_date32(kind):
        return "integer", pa.int32(), None
    if t.is_timestamp(kind) or t.is_date64(kind):
        return "bigint", pa.int64(), None
    if t.is_decimal(kind):
        return "numeric", kind, None
    if t.is_floating(kind):
        return ("double precision", kind, None) if t.is_float64(kind) else ("real", pa.float32(), None)
    if t.is_integer(kind):
        whole = {8: "smallint", 16: "smallint", 32: "integer", 64: "bigint"}
        wider = {8: "smallint", 16: "integer", 32: "bigint", 64: "numeric"}
        return (wider if t.is_unsigned_integer(kind) else whole)[kind.bit_width], kind, None
    return 'text COLLATE "C"', pa.large_string(), None


# -- to PostgreSQL -----------------------------------------------------------------------------------------------------


def to_csv(table: pa.Table, kept: list[Kept]) -> bytes:
    """Rows as COPY reads them in its CSV format; `kept` are the columns after the leading ones, which are numbers."""
    columns = list(table.columns[: table.num_columns - len(kept)])
    for entry, column in zip(kept, table.columns[len(columns) :], strict=True):
        columns.append(_sent(column.combine_chunks(), entry))
    plain = pa.table(columns, names=[f"c{i}" for i in range(len(columns))])
    sink = io.BytesIO()
    # Text is always quoted and a missing value never is: so COPY tells the empty text from NULL.
    pa_csv.write_csv(plain, sink, pa_csv.WriteOptions(include_header=False, quoting_style="needed"))
    return sink.getvalue()


def _sent(column: pa.Array, kept: Kept) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if kept.inner is None:
        plain = plainly(column, kept.plain)
        return plain.cast(pa.string()) if pa.types.is_decimal(kept.plain) else escaped(plain)
    return _array_literals(column, kept.inner)


def escaped(values: pa.Array) -> pa.Array:
    """Texts that PostgreSQL can hold; other values as they are."""
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values
    if pc.any(pc.or_kleene(pc.match_substring(values, "\x00"), pc.match_substring(values, ESCAPE))).as_py():
        values = pc.replace_substring(values, ESCAPE, ESCAPE + "1")
        values = pc.replace_substring(values, "\x00", ESCAPE + "0")
    return values


def escaped_text(value: str) -> str:
    """One text that PostgreSQL can hold."""
    return value.replace(ESCAPE, ESCAPE + "1").replace("\x00", ESCAPE + "0")


def _unescaped(values: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring(values, ESCAPE)).as_py():
        values = pc.replace_substring(values, ESCAPE + "0", "\x00")
        values = pc.replace_substring(values, ESCAPE + "1", ESCAPE)
    return values


def _array_literals(lists: pa.Array, plain: pa.DataType) -> pa.Array:
    """Lists as PostgreSQL writes arrays: {"a","b",NULL}."""
    if pa.types.is_fixed_size_list(lists.type):
        lists = lists.cast(pa.list_(lists.type.value_type))
    elements = plainly(lists.flatten(), plain)
    if pa.types.is_boolean(plain):
        elements = pc.if_else(elements, "true", "false")
    elements = escaped(elements.cast(pa.large_string()))
    for sign in ("\\", '"'):
        elements = pc.replace_substring(elements, sign, "\\" + sign)
    elements = _between('"', elements, '"')
    elements = pc.coalesce(elements, pa.scalar("NULL", pa.large_string()))
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0), np.int64)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    joined = pc.binary_join(pa.LargeListArray.from_arrays(offsets, elements), pa.scalar(",", pa.large_string()))
    return pc.if_else(lists.is_valid(), _between("{", joined, "}"), pa.scalar(None, pa.large_string()))


def _between(left: str, texts: pa.Array, right: str) -> pa.Array:
    """Each text between two signs; null stays null."""
    first, last, nothing = (pa.scalar(sign, pa.large_string()) for sign in (left, right, ""))
    return pc.binary_join_element_wise(first, texts, last, nothing)


# -- from PostgreSQL ---------------------------------------------------------------------------------------------------


def from_csv(content: bytes, head: pa.Schema, kept: list[Kept]) -> pa.Table:
    """What COPY wrote in its CSV format (text quoted), as columns in their own types."""
    names = [*head.names, *(f"c{i}" for i in range(len(kept)))]
    types = {entry.name: entry.type for entry in head}
    for number, entry in enumerate(kept):
        types[f"c{number}"] = pa.large_string() if pa.types.is_decimal(entry.plain) else entry.plain
    schema = pa.schema([*head, *(pa.field(entry.name, entry.arrow) for entry in kept)])
    if not content:
        return schema.empty_table()
    table = pa_csv.read_csv(
        io.BytesIO(content),
        pa_csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
        pa_csv.ParseOptions(newlines_in_values=True),
        pa_csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
            check_utf8=False,
        ),
    )
    columns = list(table.columns[: len(head)])
    for number, entry in enumerate(kept):
        columns.append(_received(table.column(f"c{number}").combine_chunks(), entry))
    return pa.table(columns, schema=schema)


def _received(column: pa.Array, kept: Kept) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if kept.inner is None:
        if pa.types.is_large_string(kept.plain):
            column = _unescaped(column)
        return _own(column, kept.arrow)
    # An array passes as the JSON of its elements' texts: one parse for the whole column.
    lists = json.loads("[" + ",".join(text or "null" for text in column.to_pylist()) + "]")
    elements = pa.array(lists, pa.large_list(pa.large_string()))
    flat = _unescaped(elements.flatten())
    values = _own(flat if kept.inner == pa.large_string() else flat.cast(kept.inner), kept.arrow.value_type)
    if pa.types.is_fixed_size_list(kept.arrow):
        return _fixed(elements, values, kept.arrow)
    offsets = np.concatenate([[0], np.cumsum(np.asarray(pc.list_value_length(elements).fill_null(0), np.int64))])
    large = pa.LargeListArray.from_arrays(pa.array(offsets), values, mask=elements.is_null())
    return large.cast(kept.arrow)


def _fixed(elements: pa.Array, values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Lists of one length; a missing one has no elements of its own."""
    there = np.asarray(elements.is_valid())
    at = np.full((len(elements), kind.list_size), -1, np.int64)
    at[there] = np.arange(len(values)).reshape(-1, kind.list_size)
    flat = values.take(pa.array(at.reshape(-1), mask=at.reshape(-1) < 0))
    return pa.FixedSizeListArray.from_arrays(flat, kind.list_size, mask=pa.array(~there))


def _own(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values as exchanged, in the column's own type."""
    return column.view(kind) if pa.types.is_date64(kind) else column if column.type == kind else column.cast(kind)
