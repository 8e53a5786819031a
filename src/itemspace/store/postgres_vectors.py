"""Vectors over PostgreSQL's wire, many at once: COPY's binary format written and read as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from itemspace.core.errors import ArtifactError
from itemspace.store.tables import vector_table

_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TAIL = b"\xff\xff"
LATEST = 2**63 - 1
"""The version until which an entry counts that nothing has superseded."""

KEY = np.dtype(
    [("fields", ">i2"), ("n0", ">i4"), ("row", ">i4"), ("n1", ">i4"), ("from", ">i8"), ("n2", ">i4"), ("live", "u1")]
)
"""A row of COPY (_row, _from, _live)."""


def _entry(d: int, dtype: str, *, until: bool) -> np.dtype:
    """A row of COPY (_row, _from[, _until], _live, vector): every field after its length."""
    number = ">f2" if dtype == "float16" else ">f4"
    fields: list[tuple] = [("fields", ">i2"), ("n0", ">i4"), ("row", ">i4"), ("n1", ">i4"), ("from", ">i8")]
    if until:
        fields += [("n2", ">i4"), ("until", ">i8")]
    fields += [("n3", ">i4"), ("live", "u1"), ("n4", ">i4"), ("d", ">i2"), ("unused", ">i2"), ("vector", number, (d,))]
    return np.dtype(fields)


def to_copy(rows: np.ndarray, version: np.ndarray, live: np.ndarray, values: np.ndarray) -> bytes:
    """Entries as COPY (_row, _from, _until, _live, vector) reads them in its binary format."""
    n, d = values.shape
    out = np.zeros(n, _entry(d, str(values.dtype), until=True))
    out["fields"], out["n0"], out["n1"], out["n2"], out["n3"] = 5, 4, 8, 8, 1
    out["n4"] = 4 + values.itemsize * d
    out["row"], out["from"], out["until"], out["live"] = rows, version, LATEST, live
    out["d"], out["vector"] = d, values
    return _HEAD + out.tobytes() + _TAIL


def from_copy(content: bytes, d: int, dtype: str) -> pa.Table:
    """Entries of a log of vectors, as COPY (_row, _from, _live, vector) wrote them."""
    found = _rows(content, _entry(d, dtype, until=False))
    table = vector_table(found["row"].astype(np.int32), found["vector"].astype(dtype), 0)
    table = table.set_column(1, table.schema.field(1), pa.array(found["from"].astype(np.int64)))
    return table.set_column(2, table.schema.field(2), pa.array(found["live"].astype(bool)))


def keys_from_copy(content: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, versions and whether live, as COPY (_row, _from, _live) wrote them."""
    found = _rows(content, KEY)
    return found["row"].astype(np.int32), found["from"].astype(np.int64), found["live"].astype(bool)


def _rows(content: bytes, kind: np.dtype) -> np.ndarray:
    body = len(content) - len(_HEAD) - len(_TAIL)
    if body < 0 or body % kind.itemsize or not content.startswith(_HEAD):
        raise ArtifactError("the database's answer has another form than this store writes; its tables were changed.")
    return np.frombuffer(content, kind, body // kind.itemsize, len(_HEAD))
