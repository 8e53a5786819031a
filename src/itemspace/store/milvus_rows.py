"""Entries as rows of a Milvus collection: a few whole numbers to find them by, and a body of text that keeps them exactly.

A text of Milvus has at most 65,535 bytes, so a longer body is cut into parts.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.store.columns import plainly
from itemspace.store.tables import LIVE, PUT, ROW, VERSION, newest

MOST_BODY = 60_000
"""Characters (all of them ASCII) in the body of one row."""
FIELDS = ["item", "version", "live", "put", "part", "body"]


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type in which values pass as JSON: times as ticks, decimals as text."""
    t = pa.types
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        return pa.large_list(plain_type(kind.value_type))
    if t.is_decimal(kind):
        return pa.large_string()
    if t.is_date32(kind):
        return pa.int32()
    if t.is_timestamp(kind) or t.is_date64(kind):
        return pa.int64()
    return pa.float32() if t.is_float16(kind) else kind


def bodies_of(table: pa.Table) -> list[str]:
    """Every row as a JSON list of its values, in the order of the columns."""
    columns = [_sent(column).to_pylist() for column in table.columns]
    return [json.dumps(values) for values in zip(*columns, strict=True)] if columns else ["[]"] * table.num_rows


def _sent(column: pa.ChunkedArray) -> pa.Array:
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    kind = whole.type
    if pa.types.is_fixed_size_list(kind):
        whole = whole.cast(pa.list_(kind.value_type))
    if pa.types.is_nested(whole.type):
        whole = whole.cast(pa.large_list(whole.type.value_type))
        values = plainly(whole.values, plain_type(kind.value_type))
        return pa.LargeListArray.from_arrays(whole.offsets, values, mask=whole.is_null())
    return plainly(whole, plain_type(kind))


def table_of(bodies: list[str], schema: pa.Schema) -> pa.Table:
    """The columns that `bodies_of` made bodies of."""
    values = json.loads("[" + ",".join(bodies) + "]")
    columns = list(zip(*values, strict=True)) if values else [()] * len(schema)
    made = [_received(column, entry.type) for column, entry in zip(columns, schema, strict=True)]
    return pa.table(made, schema=schema)


def _received(values: Any, kind: pa.DataType) -> pa.Array:
    column = pa.array(values, plain_type(kind))
    if pa.types.is_date64(kind):
        return column.view(kind)
    if pa.types.is_nested(kind) and pa.types.is_date64(kind.value_type):
        inner = column.values.view(kind.value_type)
        column = pa.LargeListArray.from_arrays(column.offsets, inner, mask=column.is_null())
    return column if column.type == kind else column.cast(kind)


def vector_bodies(values: np.ndarray) -> list[str]:
    """Every vector's bytes."""
    return [base64.b64encode(line).decode() for line in np.ascontiguousarray(values)]


def vectors_of(bodies: list[str], dtype: str, d: int) -> np.ndarray:
    """The vectors [n, d] that `vector_bodies` made bodies of."""
    content = b"".join(map(base64.b64decode, bodies))
    return np.frombuffer(content, dtype).reshape(-1, d)


def rows_of(entries: pa.Table, bodies: list[str]) -> list[dict[str, Any]]:
    """Entries as rows to insert, the parts of a long body one after another."""
    numbers = [entries.column(name).to_pylist() for name in ("_row", "_version", "_live")]
    puts = entries.column("_put").to_pylist() if "_put" in entries.column_names else [0] * entries.num_rows
    found = []
    for item, version, live, put, body in zip(*numbers, puts, bodies, strict=True):
        for part in range(max(1, -(-len(body) // MOST_BODY))):
            piece = body[part * MOST_BODY : (part + 1) * MOST_BODY]
            found.append(row(item, version, piece, live=live, put=put, part=part))
    return found


def row(item: int, version: int, body: str, *, live: bool = True, put: int = 0, part: int = 0, name: str = "") -> dict:
    """One row of a collection."""
    key = f"{name}{item:x}.{version:x}.{part:x}"
    told = {"entry": key, "item": item, "version": version, "live": live, "put": put, "part": part}
    return {**told, "size": len(body), "body": body, "pad": [0.0, 0.0]}


def counting(found: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Of rows with every entry's parts: items, versions, live and put of the newest entry of each item, and its body.

    In the order of items. Rows without a "body" have none.
    """
    n = len(found)
    item, version, part = (np.fromiter((r[name] for r in found), np.int64, n) for name in ("item", "version", "part"))
    first = np.flatnonzero(part == 0)
    at = first[newest(item[first], version[first])]
    live = np.fromiter((found[i]["live"] for i in at), bool, len(at))
    put = np.fromiter((found[i]["put"] for i in at), np.int64, len(at))
    bodies = [found[i].get("body", "") for i in at]
    if len(first) < n:
        order = np.lexsort((part, version, item))
        keys = {(int(item[i]), int(version[i])): place for place, i in enumerate(at.tolist())}
        for i in order[part[order] > 0].tolist():
            place = keys.get((int(item[i]), int(version[i])))
            if place is not None:
                bodies[place] += found[i].get("body", "")
    return item[at].astype(np.int32), version[at], live, put, bodies


def entries_of(found: list[dict[str, Any]], schema: pa.Schema, kept: list[str]) -> pa.Table:
    """Entries of items from rows: `_row`, `_version`, `_live`, `_put`, and the columns in `kept`."""
    items, versions, live, put, bodies = counting(found)
    head = [pa.array(items), pa.array(versions), pa.array(live), pa.array(put)]
    own = table_of(bodies, schema).select(kept) if kept else pa.table({})
    columns = [schema.field(name) for name in kept]
    return pa.table([*head, *own.columns], schema=pa.schema([ROW, VERSION, LIVE, PUT, *columns]))
