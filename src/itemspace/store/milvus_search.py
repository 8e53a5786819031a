"""Milvus as the search engine: a collection made from the record, of live items with their vectors and what filters read.

It is an index like any other: made from the store, brought up to date from its changes before a search, made anew where
it is missing. Filters go over as Milvus' expressions; what its language cannot say goes as rows.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.contracts import Encoder
from itemspace.core.errors import InUseError
from itemspace.core.extras import require
from itemspace.core.files import FileLock
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.store.columns import plainly
from itemspace.store.contract import Store
from itemspace.store.milvus_entries import MilvusEntries
from itemspace.store.milvus_rows import row
from itemspace.store.milvus_where import EVERYTHING, Unsaid, to_milvus
from itemspace.store.searching import Pushed, VectorSearch

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog

_LONGEST = 16_000
"""Characters of a text that a filter may read here; a longer one in a column leaves the column out."""
_BATCH = 2_000
_MOST = 16_384
"""The most that Milvus answers a query with."""
_METRICS = {"ip": "IP", "cosine": "COSINE", "l2": "L2"}


class MilvusVectors(VectorSearch):
    """Vectors of a store, searched by Milvus. index: "HNSW", "IVF_FLAT", "FLAT" (exhaustive), or another of its kinds."""

    def __init__(
        self, store: Store, entries: MilvusEntries, encoder: Encoder, name: str, *, lock: FileLock, index: str = "HNSW"
    ) -> None:
        super().__init__(encoder, name)
        self.store, self.entries, self.index = store, entries, index
        self.fields = fields_of(store.items_schema)
        place = re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):02x}", name)
        self.collection = f"{entries.namespace}_near_{place}_{self.operator}_{index.lower()}"
        self._lock = lock
        self._guard = threading.Lock()
        self._synced = -1
        self._long: set[str] = set()

    # -- following the store ---------------------------------------------------------------------------------------------

    def follow(self) -> int:
        """Bring the collection up to the store's version, and say which that is."""
        version = self.store.version
        if version == self._synced:
            return version
        with self._guard, _Waiting(self._lock):
            connection = self.entries.connection
            if not connection.call("has_collection", self.collection):
                self._create()
            marks = self.collection + "_mark"
            found = connection.call(
                "query", connection.loaded(marks), filter="item == 0", output_fields=["version", "body"]
            )
            since = int(found[0]["version"]) if found else 0
            self._long = set(filter(None, found[0]["body"].split(","))) if found else set()
            if since < version:
                version = self._caught_up(since)
                body = ",".join(sorted(self._long))
                connection.call("upsert", marks, [{**row(0, version, body), "entry": "mark"}])
            self._synced = version
        return version

    def _create(self) -> None:
        kinds = require("pymilvus", extra="milvus", needed_for="A store in Milvus").DataType

        entries = self.entries
        _, d = entries.latest().vectors[self.name]
        client = entries.connection.client()
        with entries.connection.answering():
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("item", kinds.INT64, is_primary=True)
            schema.add_field("vector", kinds.FLOAT_VECTOR, dim=d)
            for column, field in self.fields.items():
                kind = field_type(self.store.items_schema.field(column).type)
                more = {"max_length": 65_535} if kind == "VARCHAR" else {}
                schema.add_field(field, getattr(kinds, str(kind)), nullable=True, **more)
            client.create_collection(self.collection, schema=schema, consistency_level="Strong")
            params = client.prepare_index_params()
            options = {"HNSW": {"M": 16, "efConstruction": 128}, "IVF_FLAT": {"nlist": 128}}.get(self.index, {})
            params.add_index("vector", index_type=self.index, metric_type=_METRICS[self.operator], params=options)
            client.create_index(self.collection, params, sync=False)
        entries.create_record(self.collection + "_mark")

    def _caught_up(self, since: int) -> int:
        changes = self.store.changes(since)
        connection = self.entries.connection
        rows, values = changes.vectors(self.name)
        gone = np.union1d(changes.removed, changes.lost(self.name))
        for start in range(0, len(gone), _BATCH):
            connection.call("delete", self.collection, ids=gone[start : start + _BATCH].tolist())
        changed = np.setdiff1d(changes.rows[changes.live], rows)
        if len(changed):  # other columns only: their vectors are as they were
            kept, old = self._vectors_of(changed)
            rows, values = np.concatenate([rows, kept]), np.concatenate([values, old.astype(values.dtype)])
        at = np.searchsorted(changes.rows, rows)
        known = (at < len(changes.rows)) & np.isin(rows, changes.rows)
        table = changes.table.take(pa.array(at[known]))
        if not known.all():  # a vector written anew for an item that is as it was
            others = np.sort(rows[~known])
            more = self.entries.read("items", self.entries.at(changes.version), rows=others)
            table = pa.concat_tables([table, more.select(table.column_names)])
            order = np.argsort(rows[~known])
            rows = np.concatenate([rows[known], others])
            values = np.concatenate([values[known], values[~known][order]])
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            connection.call("upsert", self.collection, self._rows(rows[part], values[part], table[part]))
        return changes.version

    def _vectors_of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from itemspace.store.tables import array_of, matrix_of

        state = self.entries.latest()
        found = self.entries.read(f"vectors-{self.name}", state, rows=rows)
        found = found.filter(pa.array(array_of(found, "_live")))
        return array_of(found, "_row"), matrix_of(found)

    def _rows(self, rows: np.ndarray, values: np.ndarray, table: pa.Table) -> list[dict[str, Any]]:
        columns: dict[str, list[Any]] = {"item": rows.tolist(), "vector": values.astype(np.float32).tolist()}
        for column, field in self.fields.items():
            columns[field] = self._readable(column, table.column(column))
        return [dict(zip(columns, one, strict=True)) for one in zip(*columns.values(), strict=True)]

    def _readable(self, column: str, values: pa.ChunkedArray) -> list[Any]:
        """A column as filters of Milvus read it: times as ticks, NaN as missing, texts of a length it holds."""
        whole = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
        kind = whole.type
        if pa.types.is_decimal(kind):
            whole = whole.cast(pa.float64())
        elif pa.types.is_floating(kind):
            whole = whole.cast(pa.float32()) if pa.types.is_float16(kind) else whole
            whole = pc.if_else(pc.is_finite(whole), whole, pa.scalar(None, whole.type))
            if pc.any(pc.is_inf(values.cast(pa.float64()))).as_py():
                self._long.add(column)  # Milvus holds no infinity
        elif pa.types.is_date32(kind):
            whole = plainly(whole, pa.int32())
        elif pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
            whole = plainly(whole, pa.int64())
        elif field_type(kind) == "VARCHAR":
            long = pc.greater(pc.utf8_length(whole), _LONGEST)
            if pc.any(long).as_py():
                self._long.add(column)
                whole = pc.if_else(long, pa.scalar(None, kind), whole)
        found: list[Any] = whole.to_pylist()
        return found

    # -- asking ----------------------------------------------------------------------------------------------------------

    def _can(self, pushed: Pushed, catalog: Catalog) -> bool:
        self.follow()
        try:
            self._expression(pushed)
        except Unsaid:
            return False
        return True

    def _expression(self, pushed: Pushed) -> str:
        fields = {column: field for column, field in self.fields.items() if column not in self._long}
        return to_milvus(pushed.expression, pushed.checked, fields)

    def _best(
        self, requests: Requests, k: int, pushed: Pushed | None, within: Selection | None
    ) -> tuple[np.ndarray, np.ndarray]:
        queries = self.queries(requests)
        self.follow()
        told = [] if pushed is None else [self._expression(pushed)]
        if within is not None and within.rows is not None:
            told.append(f"item in {within.rows.tolist()}")
        if within is None or not within.per_request:
            return self._asked(queries, k, " and ".join(told))
        # Requests with limits of their own are asked one by one: an expression holds for a whole batch.
        parts = []
        for number in range(len(queries)):
            mine = list(told)
            if within.include is not None:
                mine.append(f"item in {within.include[number].tolist()}")
            if within.exclude is not None and len(within.exclude[number]):
                mine.append(f"item not in {within.exclude[number].tolist()}")
            parts.append(self._asked(queries[number : number + 1], k, " and ".join(mine)))
        return np.concatenate([rows for rows, _ in parts]), np.concatenate([scores for _, scores in parts])

    def _asked(self, queries: np.ndarray, k: int, told: str) -> tuple[np.ndarray, np.ndarray]:
        connection, wanted = self.entries.connection, min(k, _MOST)
        connection.loaded(self.collection)
        params = {"ef": int(max(64, 2 * wanted))} if self.index == "HNSW" else {}
        found = connection.call(
            "search",
            self.collection,
            data=list(queries),
            anns_field="vector",
            limit=wanted,
            filter=told,
            search_params={"metric_type": _METRICS[self.operator], "params": params},
            output_fields=[],
        )
        rows, scores = (
            np.full((len(queries), wanted), -1, np.int32),
            np.full((len(queries), wanted), -np.inf, np.float32),
        )
        for number, hits in enumerate(found):
            rows[number, : len(hits)] = [hit["id"] if "id" in hit else hit["item"] for hit in hits]
            scores[number, : len(hits)] = [hit["distance"] for hit in hits]
        if self.operator == "l2":
            there = rows >= 0
            scores[there] = -np.sqrt(np.maximum(scores[there], 0))
        if (rows[:, -1] < 0).any():
            return self._completed(queries, rows, scores, k, told)
        return rows, scores

    def _completed(
        self, queries: np.ndarray, rows: np.ndarray, scores: np.ndarray, k: int, told: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """A graph may not reach everything: what matches and did not come back is scored here."""
        found = self.entries.connection.query(self.collection, told or EVERYTHING, ["item"], page=4096)
        matching = np.sort(np.fromiter((one["item"] for one in found), np.int64, len(found)))
        short = [n for n in range(len(queries)) if (rows[n] >= 0).sum() < min(k, len(matching))]
        if not short:
            return rows, scores
        kept, vectors = self._vectors_of(matching.astype(np.int32))
        width = min(k, len(kept))
        out_rows, out_scores = (
            np.full((len(queries), width), -1, np.int32),
            np.full((len(queries), width), -np.inf, np.float32),
        )
        both = min(width, rows.shape[1])
        out_rows[:, :both], out_scores[:, :both] = rows[:, :both], scores[:, :both]
        for number in short:
            exact = scored(self.operator, queries[number], vectors)
            order = np.argsort(-exact, kind="stable")[:width]
            out_rows[number], out_scores[number] = kept[order], exact[order]
        return out_rows, out_scores


class _Waiting:
    """A file lock that is waited for: bringing a collection up to date takes a moment."""

    def __init__(self, lock: FileLock) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        until = time.monotonic() + 600
        while True:
            try:
                return self.lock.acquire()
            except InUseError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def __exit__(self, *error: object) -> None:
        self.lock.release()


def field_type(kind: pa.DataType) -> str | None:
    """Milvus' type for a column that filters read; None for those it has none for."""
    t = pa.types
    if t.is_boolean(kind):
        return "BOOL"
    if t.is_floating(kind) or t.is_decimal(kind):
        return "DOUBLE"
    if (t.is_integer(kind) and not t.is_uint64(kind)) or t.is_date(kind) or t.is_timestamp(kind):
        return "INT64"
    return "VARCHAR" if t.is_string(kind) or t.is_large_string(kind) else None


def fields_of(schema: pa.Schema) -> dict[str, str]:
    """The fields that filters read, by column."""
    return {entry.name: f"c{n}" for n, entry in enumerate(schema) if field_type(entry.type) is not None}


def scored(operator: str, query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """float32 [n]: every vector's score for a query."""
    x, q = vectors.astype(np.float64), query.astype(np.float64)
    if operator == "l2":
        return (-np.sqrt(((x - q) ** 2).sum(1))).astype(np.float32)
    found = x @ q
    if operator == "cosine":
        length = np.sqrt((x * x).sum(1) * (q @ q))
        found = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
    return found.astype(np.float32)
