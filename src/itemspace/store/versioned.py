"""`VersionedRecord`: reading and writing a `Store` over any database that keeps entries with versions (`Entries`).

The folder of such a store holds its description (`store.json`) and no data: which database and which names in it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from itemspace.core.errors import ArtifactError, DataError, SchemaError
from itemspace.store.columns import (
    check_known,
    checked_matrix,
    checked_rows,
    conform_events,
    conform_items,
    conform_some,
)
from itemspace.store.commits import check_key
from itemspace.store.contract import Changes, Store, StoreConfig
from itemspace.store.entries import ITEMS, VECTORS, Entries, State
from itemspace.store.loading import Given, stamped_events
from itemspace.store.tables import LIVE, PUT, ROW, VERSION, array_of, matrix_of, vector_table
from itemspace.store.upkeep import restamp

_SCAN = 65_536


class VersionedRecord(Store):
    """The meaning of a store's calls; how a database keeps entries is `self._entries`' business."""

    config: StoreConfig
    _schema: pa.Schema
    _id_column: str
    _entries: Entries

    def __init__(self, path: Path, config: StoreConfig | None = None) -> None:
        """Use `create` or `open`."""
        super().__init__(config or self.config_class()())
        self.location = Path(path)
        self._guard = threading.RLock()
        self._seen = 0

    def close(self) -> None:
        with self._guard:
            self._entries.close()

    def release(self) -> None:
        with self._guard:
            self._entries.let_go()

    @contextmanager
    def writing(self) -> Iterator[Self]:
        with self._guard:
            held = self._entries.held
            self._entries.hold()
            try:
                yield self
            finally:
                if not held:
                    self.release()

    # -- state ---------------------------------------------------------------------------------------------------------

    def _now(self) -> State:
        state = self._entries.latest()
        self._seen = state.version
        return state

    @property
    def version(self) -> int:
        return self._now().version

    @property
    def items_schema(self) -> pa.Schema:
        return self._schema

    @property
    def id_column(self) -> str:
        return self._id_column

    @property
    def events_reset(self) -> int:
        return self._now().events_reset

    @contextmanager
    def _transaction(self) -> Iterator[State]:
        """The state to build on; what was written when an error interrupts is taken back by the database."""
        with self._guard:
            held = self._entries.held
            self._entries.hold()
            try:
                with self._entries.transaction():
                    yield self._tidied(self._entries.latest())
            except BaseException:
                if not held:
                    self.release()
                raise
            self._seen = self._entries.latest().version

    def _tidied(self, state: State) -> State:
        """The state after the upkeep that is due."""
        return state

    def _commit(self, state: State) -> int:
        self._entries.commit(replace(state, written=time.time()))
        return state.version

    # -- items ---------------------------------------------------------------------------------------------------------

    def put_items(
        self, rows: np.ndarray, table: pa.Table, *, vectors: Mapping[str, np.ndarray | None] | None = None
    ) -> int:
        rows = checked_rows(rows, table.num_rows)
        table = conform_items(table, self._schema, self._id_column)
        given = {
            name: checked_matrix(name, values, len(rows))
            for name, values in (vectors or {}).items()
            if values is not None
        }
        if len(rows) == 0:
            return self.version
        seen = self._seen
        with self._transaction() as base:
            if any(version not in base.void for version in range(seen + 1, base.version)) or (
                base.version > seen and base.version - 1 not in base.void
            ):
                raise ArtifactError(
                    f"{self.location} was written by another process since it was last read here (version {seen}, now "
                    f"{base.version}). Read `changes({seen})` before giving rows to items."
                )
            state = base.next()
            for name, values in given.items():
                state = self._add_vectors(state, name, rows, values)
            self._entries.add(ITEMS, self._put(rows, table, state.version))
            return self._commit(state)

    def load_items(self, parts: Iterable[tuple[np.ndarray, pa.Table]]) -> int:
        given, some = Given(), False
        with self._transaction() as base:
            state = base.next()
            for rows, table in parts:
                rows = given.new(rows, table.num_rows)
                self._entries.add(
                    ITEMS, self._put(rows, conform_items(table, self._schema, self._id_column), state.version)
                )
                some = True
            return self._commit(state) if some else base.version

    def update_items(self, rows: np.ndarray, table: pa.Table) -> int:
        rows = checked_rows(rows, table.num_rows)
        check_known(table, self._schema)
        if self._id_column in table.column_names:
            raise SchemaError("the ID of an item cannot change.", column=self._id_column)
        changed = conform_some(table, self._schema)
        if len(rows) == 0 or not changed.column_names:
            return self.version
        with self._transaction() as base:
            state = base.next()
            order = np.argsort(rows)
            entries = restamp(self._known(base, rows[order]), state.version)
            for name in changed.column_names:
                at = entries.schema.get_field_index(name)
                entries = entries.set_column(at, entries.schema.field(at), changed.column(name).take(pa.array(order)))
            self._entries.add(ITEMS, entries)
            return self._commit(state)

    def remove_items(self, rows: np.ndarray) -> int:
        rows = checked_rows(rows)
        if len(rows) == 0:
            return self.version
        with self._transaction() as base:
            state = base.next()
            self._entries.add(ITEMS, restamp(self._known(base, np.sort(rows)), state.version, live=False))
            return self._commit(state)

    def _put(self, rows: np.ndarray, table: pa.Table, version: int) -> pa.Table:
        """Entries of items put as `version`. `_put` remembers that version through updates."""
        stamp = pa.array(np.full(len(rows), version, np.int64))
        head = [pa.array(rows, pa.int32()), stamp, pa.array(np.ones(len(rows), bool)), stamp]
        return pa.table([*head, *table.columns], schema=pa.schema([ROW, VERSION, LIVE, PUT, *self._schema]))

    def _known(self, base: State, rows: np.ndarray, columns: list[str] | None = None) -> pa.Table:
        """The entries of `rows` (ascending).

        Raises:
            DataError: one of them was never put.
        """
        entries = self._entries.read(ITEMS, base, columns, rows=rows)
        if entries.num_rows < len(rows):
            unknown = np.setdiff1d(rows, array_of(entries, "_row"))
            raise DataError(f"row {int(unknown[0]):,} holds no item.", count=len(unknown))
        return entries

    def items(self, columns: list[str] | None = None) -> tuple[np.ndarray, np.ndarray, pa.Table]:
        names = self._names(columns)
        return parted(self._entries.read(ITEMS, self._now(), names), names)

    def scan_items(
        self, batch_rows: int = _SCAN, columns: list[str] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, pa.Table]]:
        state, names = self._now(), self._names(columns)
        rows = self._entries.keys(ITEMS, state)[0]
        for start in range(0, len(rows), batch_rows):
            yield parted(self._entries.read(ITEMS, state, names, rows=rows[start : start + batch_rows]), names)

    def _names(self, columns: list[str] | None) -> list[str]:
        if columns is None:
            return list(self._schema.names)
        check_known(pa.table({name: [] for name in columns}), self._schema)
        return list(columns)

    # -- vectors -------------------------------------------------------------------------------------------------------

    def vector_names(self) -> list[str]:
        return sorted(self._now().vectors)

    def put_vectors(self, name: str, rows: np.ndarray, values: np.ndarray) -> int:
        values = checked_matrix(name, values, len(rows))
        rows = checked_rows(rows, len(values))
        if len(rows) == 0:
            return self.version
        with self._transaction() as base:
            self._known(base, np.sort(rows), [])
            return self._commit(self._add_vectors(base.next(), name, rows, values))

    def load_vectors(self, name: str, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        given, some = Given(), False
        with self._transaction() as base:
            state = base.next()
            for rows, values in parts:
                matrix = checked_matrix(name, values, len(rows))
                rows = given.new(rows, len(matrix))
                self._known(base, np.sort(rows), [])
                state, some = self._add_vectors(state, name, rows, matrix), True
            return self._commit(state) if some else base.version

    def _add_vectors(self, state: State, name: str, rows: np.ndarray, values: np.ndarray) -> State:
        check_key(name)
        dtype, dimension = state.vectors.get(name, (str(values.dtype), values.shape[1]))
        if dimension != values.shape[1]:
            raise DataError(
                f"the vectors `{name}` have {dimension} numbers each, these have {values.shape[1]}.",
                hint="Vectors of another encoder go under another name.",
            )
        self._entries.add(VECTORS + name, vector_table(rows, values.astype(dtype, copy=False), state.version))
        return replace(state, vectors={**state.vectors, name: (dtype, dimension)})

    def vectors(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        state = self._now()
        self._kept(state, name)
        found = self._entries.read(VECTORS + name, state)
        items, _, alive = self._entries.keys(ITEMS, state)
        found = found.filter(pa.array(array_of(found, "_live") & np.isin(array_of(found, "_row"), items[alive])))
        return array_of(found, "_row"), matrix_of(found)

    def scan_vectors(self, name: str, batch_rows: int = _SCAN) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        state = self._now()
        self._kept(state, name)
        items, _, alive = self._entries.keys(ITEMS, state)
        rows, _, live = self._entries.keys(VECTORS + name, state)
        rows = rows[live & np.isin(rows, items[alive])]
        for start in range(0, len(rows), batch_rows):
            table = self._entries.read(VECTORS + name, state, rows=rows[start : start + batch_rows])
            yield array_of(table, "_row"), matrix_of(table)

    def _kept(self, state: State, name: str) -> None:
        if name not in state.vectors:
            told = ", ".join(sorted(state.vectors)) or "none"
            raise DataError(f"no vectors `{name}` are kept; there are: {told}.", nothing_written=False)

    # -- events and changes --------------------------------------------------------------------------------------------

    def append_events(self, table: pa.Table) -> int:
        table = conform_events(table)
        return self.version if table.num_rows == 0 else self.load_events([table])

    def load_events(self, parts: Iterable[pa.Table]) -> int:
        with self._transaction() as base:
            version, count = base.version + 1, base.events
            for part in parts:
                table = conform_events(part)
                if table.num_rows:
                    self._entries.add_events(stamped_events(table, version, count))
                count += table.num_rows
            return self._commit(base.next(events=count)) if count > base.events else base.version

    def events(self, since: int = 0) -> pa.Table:
        state = self._now()
        return self._entries.events(state, 0, state.events, since)

    def scan_events(self, batch_rows: int = 262_144) -> Iterator[pa.Table]:
        state = self._now()
        for start in range(0, state.events, batch_rows):
            yield self._entries.events(state, start, min(start + batch_rows, state.events))

    def changes(self, since: int) -> Changes:
        state = self._now()
        found = self._entries.read(ITEMS, state, since=since)
        rows, live = array_of(found, "_row"), array_of(found, "_live")

        @cache
        def vectors(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            self._kept(state, name)
            written = self._entries.read(VECTORS + name, state, since=since)
            # An item put back has a vector that is older than its return.
            back = np.setdiff1d(rows[live & (array_of(found, "_put") > since)], array_of(written, "_row"))
            if len(back):
                written = pa.concat_tables([written, self._entries.read(VECTORS + name, state, rows=back)])
            at, present = array_of(written, "_row"), array_of(written, "_live")
            alive = np.isin(at, rows[live])
            others = np.sort(at[~np.isin(at, rows)])
            if len(others):
                known = self._entries.read(ITEMS, state, [], rows=others)
                alive |= np.isin(at, array_of(known, "_row")[array_of(known, "_live")])
            kept = np.flatnonzero(alive & present)
            kept = kept[np.argsort(at[kept])]
            return at[kept], matrix_of(written)[kept], np.sort(at[alive & ~present])

        return Changes(state.version, rows, live, found.select(self._schema.names), vectors)

    # -- meta ----------------------------------------------------------------------------------------------------------

    def put_meta(self, key: str, value: Any) -> int:
        check_key(key)
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DataError(f"the meta value `{key}` is not JSON: {error}.") from None
        with self._transaction() as base:
            state = base.next(meta={**base.meta, key: base.version + 1})
            self._entries.write_meta(key, state.version, text)
            return self._commit(state)

    def meta(self, key: str, default: Any = None) -> Any:
        state = self._now()
        return json.loads(self._entries.read_meta(key, state.meta[key])) if key in state.meta else default


def parted(entries: pa.Table, names: list[str]) -> tuple[np.ndarray, np.ndarray, pa.Table]:
    """Entries of items as rows, whether they are live, and columns."""
    return array_of(entries, "_row"), array_of(entries, "_live"), entries.select(names)
