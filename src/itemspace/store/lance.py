"""`LanceStore`: the record in embedded LanceDB, a folder and nothing to run.

Choose it unless a database is to be shared over a network. See `commits` for how several tables make one transaction and
`tables` for why they are logs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

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
from itemspace.store.commits import Commit, check_key
from itemspace.store.contract import EVENT_SCHEMA, Changes, StoreConfig
from itemspace.store.lance_states import LanceStates
from itemspace.store.loading import Given, stamped_events
from itemspace.store.recent import SMALL, Recent
from itemspace.store.tables import (
    LIVE,
    PUT,
    ROW,
    VERSION,
    Pinned,
    array_of,
    matrix_of,
    newest,
    read_from,
    vector_table,
)
from itemspace.store.transactions import EVENTS, ITEMS, VECTORS
from itemspace.store.upkeep import restamp

_BATCH = 65_536


class LanceStore(LanceStates):
    """A `Store` in a folder, on LanceDB.

    ```python
    store = LanceStore.create(path, items_schema=table.schema, id_column="item_id")
    version = store.put_items(rows, table, vectors={"text": vectors})
    store.update_items(rows[:1], pa.table({"price": [9.5]}))
    ```
    Processes must be spawned, not forked: LanceDB runs threads.
    """

    config: StoreConfig

    def __init__(self, path: Path, config: StoreConfig | None = None) -> None:
        """Use `create` or `open`."""
        super().__init__(path, config)
        self._recent: Recent | None = None
        self._empty: dict[str, pa.Table] = {}

    def _forget(self) -> None:
        self._recent = None

    def _remember(self, commit: Commit) -> None:
        recent = self._recent
        if recent is None:
            return
        # What it stands on may be tidied away by another process some time after it was superseded.
        old = time.monotonic() - recent.made > self.config.keep_seconds / 2
        old = old or commit.version - recent.first > self.config.keep_versions / 2
        parts = None if old else self._log.appended(recent.version, commit, ITEMS)
        if parts is None or not all(recent.add(entries) for entries in parts):
            self._forget()
        else:
            recent.version = commit.version

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
            if self._log.latest().version != seen:
                raise ArtifactError(
                    f"{self.location} was written by another process since it was last read here (version {seen}, now "
                    f"{self._log.latest().version}). Read `changes({seen})` before giving rows to items."
                )
            commit = base.next()
            for name, values in given.items():
                commit = self._append_vectors(commit, name, rows, values)
            return self._commit_items(commit, self._entries(rows, table, commit.version))

    def load_items(self, parts: Iterable[tuple[np.ndarray, pa.Table]]) -> int:
        given = Given()
        with self._transaction() as base:
            commit = base.next()
            reader = read_from(
                self._entries(given.new(rows, table.num_rows), self._conformed(table), commit.version)
                for rows, table in parts
            )
            return self.version if reader is None else self._loaded(commit, ITEMS, reader)

    def _conformed(self, table: pa.Table) -> pa.Table:
        return conform_items(table, self._schema, self._id_column)

    def _loaded(self, commit: Commit, name: str, reader: pa.RecordBatchReader) -> int:
        self._forget()
        return self._commit(self._append(commit, name, reader))

    def update_items(self, rows: np.ndarray, table: pa.Table) -> int:
        rows = checked_rows(rows, table.num_rows)
        check_known(table, self._schema)
        if self._id_column in table.column_names:
            raise SchemaError("the ID of an item cannot change.", column=self._id_column)
        changed = conform_some(table, self._schema)
        if len(rows) == 0 or not changed.column_names:
            return self.version
        with self._transaction() as base:
            self._check_rows(base, rows)
            commit = base.next()
            order = np.argsort(rows)
            entries = self._newest(base, rows[order], commit.version)
            for name in changed.column_names:
                at = entries.schema.get_field_index(name)
                entries = entries.set_column(at, entries.schema.field(at), changed.column(name).take(pa.array(order)))
            return self._commit_items(commit, entries)

    def remove_items(self, rows: np.ndarray) -> int:
        rows = checked_rows(rows)
        if len(rows) == 0:
            return self.version
        with self._transaction() as base:
            self._check_rows(base, rows)
            commit = base.next()
            entries = self._newest(base, np.sort(rows), commit.version, live=False)
            return self._commit_items(commit, entries)

    def _entries(self, rows: np.ndarray, table: pa.Table, version: int) -> pa.Table:
        """Entries of items put as `version`. `_put` remembers that version through updates."""
        n = len(rows)
        stamp = pa.array(np.full(n, version, np.int64))
        head = [pa.array(rows, pa.int32()), stamp, pa.array(np.ones(n, bool)), stamp]
        return pa.table([*head, *table.columns], schema=pa.schema([ROW, VERSION, LIVE, PUT, *self._schema]))

    def _commit_items(self, commit: Commit, entries: pa.Table) -> int:
        version = self._commit(self._append(commit, ITEMS, entries))
        if self._recent is not None:
            self._recent.version = version
            if not self._recent.add(entries):
                self._forget()
        return version

    def _newest(self, base: Commit, rows: np.ndarray, version: int, *, live: bool | None = None) -> pa.Table:
        """The present entries of known `rows` (ascending), restamped with `version` and, where given, `live`."""
        pinned = self._pin(base, ITEMS)
        assert pinned is not None  # rows are known, so there are items
        few = self._recent if len(rows) <= SMALL else None
        entries = pinned.lookup(rows) if few is None else few.lookup(rows)
        return restamp(entries, version, live=live)

    def _check_rows(self, commit: Commit, rows: np.ndarray) -> None:
        if self._recent is None:
            self._recent = Recent(self._pin(commit, ITEMS), commit.version)
        unknown = self._recent.unknown(rows)
        if len(unknown):
            raise DataError(f"row {int(unknown[0]):,} holds no item.", count=len(unknown))

    def items(self, columns: list[str] | None = None) -> tuple[np.ndarray, np.ndarray, pa.Table]:
        pinned = self._pin(self._now(), ITEMS)
        names = self._names(columns)
        if pinned is None:
            return np.zeros(0, np.int32), np.zeros(0, bool), self._schema.empty_table().select(names)
        table = pinned.read(["_row", "_version", "_live", *names])
        rows, versions = array_of(table, "_row"), array_of(table, "_version")
        if len(rows) > 1 and not bool((rows[1:] > rows[:-1]).all()):
            table = table.take(pa.array(newest(rows, versions)))
        return array_of(table, "_row"), array_of(table, "_live"), table.select(names)

    def scan_items(
        self, batch_rows: int = 65_536, columns: list[str] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, pa.Table]]:
        pinned = self._pin(self._now(), ITEMS)
        names = self._names(columns)
        if pinned is not None:
            for table in pinned.scan(batch_rows, ["_row", "_version", "_live", *names]):
                yield array_of(table, "_row"), array_of(table, "_live"), table.select(names)

    def _names(self, columns: list[str] | None) -> list[str]:
        if columns is None:
            return list(self._schema.names)
        check_known(pa.table({name: [] for name in columns}), self._schema)
        return list(columns)

    # -- vectors -------------------------------------------------------------------------------------------------------

    def vector_names(self) -> list[str]:
        return sorted(name.removeprefix(VECTORS) for name in self._now().tables if name.startswith(VECTORS))

    def put_vectors(self, name: str, rows: np.ndarray, values: np.ndarray) -> int:
        values = checked_matrix(name, values, len(rows))
        rows = checked_rows(rows, len(values))
        if len(rows) == 0:
            return self.version
        with self._transaction() as base:
            self._check_rows(base, rows)
            return self._commit(self._append_vectors(base.next(), name, rows, values))

    def _append_vectors(self, commit: Commit, name: str, rows: np.ndarray, values: np.ndarray) -> Commit:
        check_key(name)
        pinned = self._pin(commit, VECTORS + name)
        if pinned is not None:
            kept = pinned.schema.field("vector").type
            if kept.list_size != values.shape[1]:
                raise DataError(
                    f"the vectors `{name}` have {kept.list_size} numbers each, these have {values.shape[1]}.",
                    hint="Vectors of another encoder go under another name.",
                )
            values = values.astype(kept.value_type.to_pandas_dtype(), copy=False)
        return self._append(commit, VECTORS + name, vector_table(rows, values, commit.version))

    def load_vectors(self, name: str, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        check_key(name)
        if VECTORS + name in self._now().tables:
            return super().load_vectors(name, parts)
        given = Given()
        with self._transaction() as base:
            commit = base.next()

            def entries(rows: np.ndarray, values: np.ndarray) -> pa.Table:
                self._check_rows(base, rows)
                matrix = checked_matrix(name, values, len(rows))
                return vector_table(given.new(rows, len(matrix)), matrix, commit.version)

            reader = read_from(entries(rows, values) for rows, values in parts)
            return self.version if reader is None else self._loaded(commit, VECTORS + name, reader)

    def vectors(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        commit = self._now()
        pinned, within = self._live_vectors(commit, name)
        if len(within) == pinned.keys.entries:
            table = pinned.read(["_row", "vector"])
            rows, values = array_of(table, "_row"), matrix_of(table)
            if bool((rows[1:] > rows[:-1]).all()):
                return rows, values
            order = np.argsort(rows)
            return rows[order], values[order]
        parts = list(pinned.scan(_BATCH, ["_row", "vector"], within))
        if not parts:
            return np.zeros(0, np.int32), matrix_of(pinned.read(["vector"], "_row < 0"))
        return np.concatenate([array_of(p, "_row") for p in parts]), np.concatenate([matrix_of(p) for p in parts])

    def scan_vectors(self, name: str, batch_rows: int = 65_536) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        pinned, within = self._live_vectors(self._now(), name)
        for table in pinned.scan(batch_rows, ["_row", "vector"], within):
            yield array_of(table, "_row"), matrix_of(table)

    def _live_vectors(self, commit: Commit, name: str) -> tuple[Pinned, np.ndarray]:
        """The vectors of a name and the positions in its keys that belong to live items."""
        pinned = self._vector_table(commit, name)
        return pinned, np.flatnonzero(pinned.keys.live & self._are_live(commit, pinned.keys.rows))

    def _are_live(self, commit: Commit, rows: np.ndarray) -> np.ndarray:
        """Whether each of `rows` (ascending) is a live item, bool [n]."""
        items = self._pin(commit, ITEMS)
        if items is None:
            return np.zeros(len(rows), bool)
        found = items.lookup(rows, ["_live"]) if len(rows) <= 500 else None
        if found is not None:
            return np.isin(rows, array_of(found, "_row")[array_of(found, "_live")])
        at = items.keys.positions(rows)
        return (at >= 0) & items.keys.live[np.maximum(at, 0)]

    # -- events and changes --------------------------------------------------------------------------------------------

    def append_events(self, table: pa.Table) -> int:
        table = conform_events(table)
        if table.num_rows == 0:
            return self.version
        with self._transaction() as base:
            commit = base.next(events=base.events + table.num_rows)
            table = stamped_events(table, commit.version, base.events)
            return self._commit(self._append(commit, EVENTS, table))

    def load_events(self, parts: Iterable[pa.Table]) -> int:
        with self._transaction() as base:
            commit, count = base.next(), base.events

            def stamped(table: pa.Table) -> pa.Table:
                nonlocal count
                made = stamped_events(conform_events(table), commit.version, count)
                count += table.num_rows
                return made

            reader = read_from(stamped(part) for part in parts)
            if reader is None:
                return self.version
            return self._commit(replace(self._append(commit, EVENTS, reader), events=count))

    def scan_events(self, batch_rows: int = 262_144) -> Iterator[pa.Table]:
        commit = self._now()
        pinned = self._pin(commit, EVENTS)
        if pinned is None:
            return
        names = [*EVENT_SCHEMA.names, "_version"]
        due = 0
        for table in pinned.in_order([*names, "_sequence"], batch_rows):
            order = array_of(table, "_sequence")
            if not np.array_equal(order, np.arange(due, due + len(order))):
                break  # upkeep has moved some: the rest is looked up by number
            due += len(order)
            yield table.select(names)
        for start in range(due, commit.events, batch_rows):
            where = f"_sequence >= {start} AND _sequence < {start + batch_rows}"
            table = pinned.read([*names, "_sequence"], where)
            yield table.take(pa.array(np.argsort(array_of(table, "_sequence")))).select(names)

    def events(self, since: int = 0) -> pa.Table:
        commit = self._now()
        names = [*EVENT_SCHEMA.names, "_version"]
        if since > 0 and (parts := self._log.appended(since, commit, EVENTS)) is not None:
            empty = pa.schema([*EVENT_SCHEMA, VERSION]).empty_table()
            return pa.concat_tables([part.select(names).cast(empty.schema) for part in parts] or [empty])
        pinned = self._pin(commit, EVENTS)
        if pinned is None:
            return pa.schema([*EVENT_SCHEMA, VERSION]).empty_table()
        table = pinned.read([*names, "_sequence"], f"_version > {int(since)}" if since > 0 else None)
        order = array_of(table, "_sequence")
        if len(order) > 1 and not bool((order[1:] > order[:-1]).all()):
            table = table.take(pa.array(np.argsort(order)))
        return table.select(names)

    def changes(self, since: int) -> Changes:
        commit = self._now()
        found = self._written(commit, ITEMS, since)
        rows, live = array_of(found, "_row"), array_of(found, "_live")

        @cache
        def vectors(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            written = self._written(commit, VECTORS + name, since)
            # An item put back has a vector that is older than its return.
            back = np.setdiff1d(rows[live & (array_of(found, "_put") > since)], array_of(written, "_row"))
            if len(back):
                written = pa.concat_tables([written, self._vector_table(commit, name).lookup(back)])
            at, present = array_of(written, "_row"), array_of(written, "_live")
            known = np.isin(at, rows)
            alive = np.isin(at, rows[live])
            if not known.all():
                alive[~known] = self._are_live(commit, at[~known])
            kept = np.flatnonzero(alive & present)
            kept = kept[np.argsort(at[kept])]
            return at[kept], matrix_of(written)[kept], np.sort(at[alive & ~present])

        return Changes(commit.version, rows, live, found.select(self._schema.names), vectors)

    def _written(self, commit: Commit, name: str, since: int) -> pa.Table:
        """The newest entries of rows written to a log after version `since`, in row order."""
        parts = self._log.appended(since, commit, name)
        if parts is None:
            pinned = self._pin(commit, name) if name == ITEMS else self._vector_table(commit, name[len(VECTORS) :])
            return self._no_items() if pinned is None else pinned.since(since)
        if not parts:
            return self._no_items() if name == ITEMS else self._no_vectors(commit, name[len(VECTORS) :])
        table = pa.concat_tables(parts)
        return table.take(pa.array(newest(array_of(table, "_row"), array_of(table, "_version"))))

    def _no_vectors(self, commit: Commit, name: str) -> pa.Table:
        if name not in self._empty:  # the columns of a table of vectors never change
            self._empty[name] = self._vector_table(commit, name).schema.empty_table()
        return self._empty[name]

    def _no_items(self) -> pa.Table:
        return self._entries(np.zeros(0, np.int32), self._schema.empty_table(), 0)

    # -- meta ----------------------------------------------------------------------------------------------------------

    def put_meta(self, key: str, value: Any) -> int:
        check_key(key)
        with self._transaction() as base:
            commit = base.next(meta={**base.meta, key: base.version + 1})
            self._log.write_meta(key, commit.version, value)
            return self._commit(commit)

    def meta(self, key: str, default: Any = None) -> Any:
        return self._log.read_meta(self._now(), key, default)
