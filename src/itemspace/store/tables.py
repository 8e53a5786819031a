"""Lance tables as append-only logs: the newest entry of a row counts, every read is of one pinned version.

Appending is the cheapest thing Lance does (about 2 ms, whatever the size of the table); `merge_insert` and `update` cost
three times that and rewrite fragments. So a change appends whole entries, and superseded ones wait for `tidy`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import ArtifactError
from itemspace.core.files import copy_files, fsync_file, fsync_folder
from itemspace.core.memory import give_back

ROW = pa.field("_row", pa.int32())
VERSION = pa.field("_version", pa.int64())
LIVE = pa.field("_live", pa.bool_())
PUT = pa.field("_put", pa.int64())
_LOOKUP_BY_FILTER = 500
_SYNCS = 6
"""Files and folders synced at a time: what one append leaves."""


@dataclass(frozen=True)
class Keys:
    """The newest entries of a log in row order: rows int32 [n], their versions int64 [n], live bool [n], Lance row ids.

    entries: how many the log holds, superseded ones included.
    """

    rows: np.ndarray
    versions: np.ndarray
    live: np.ndarray
    ids: np.ndarray
    entries: int

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Where each of `rows` is [n]; -1 where the log does not know it."""
        if len(self.rows) == 0:
            return np.full(len(rows), -1, np.int64)
        at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        return np.where(self.rows[at] == rows, at, -1)


def newest(rows: np.ndarray, versions: np.ndarray) -> np.ndarray:
    """Positions of the newest entry of each row, in row order."""
    order = np.lexsort((versions, rows))
    ordered = rows[order]
    last = np.ones(len(order), bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    return order[last]


class Pinned:
    """One table at one version; safe to share between threads."""

    def __init__(self, handle: Any, place: Path) -> None:
        self._handle, self.place = handle, place

    @property
    def schema(self) -> pa.Schema:
        return self._handle.schema

    def count(self) -> int:
        """Entries, superseded ones included."""
        return self._handle.count_rows()

    def read(self, columns: list[str] | None = None, where: str | None = None, *, ids: bool = False) -> pa.Table:
        """The entries (matching the SQL condition `where`), in no promised order."""
        query = self._handle.search()
        if where is not None:
            query = query.where(where)
        if columns is not None:
            query = query.select(columns)
        if ids:
            query = query.with_row_id(True)
        return self._answer(query.limit(None))

    def take(self, ids: np.ndarray, columns: list[str] | None = None) -> pa.Table:
        """The entries with these Lance row ids, in no promised order."""
        query = self._handle.take_row_ids(ids.tolist())
        return self._answer(query if columns is None else query.select(columns))

    def in_order(self, columns: list[str], batch_rows: int) -> Iterator[pa.Table]:
        """Entries as they were appended, `batch_rows` at a time; for logs that are never rewritten."""
        try:
            for batch in self._handle.search().select(columns).limit(None).to_batches(batch_rows):
                yield pa.Table.from_batches([batch])
        except (RuntimeError, OSError) as error:
            raise damaged(self.place, error) from error

    def _answer(self, query: Any) -> pa.Table:
        try:
            return query.to_arrow()
        except (RuntimeError, OSError) as error:
            raise damaged(self.place, error) from error

    @cached_property
    def keys(self) -> Keys:
        """The newest entry of every row."""
        table = self.read(["_row", "_version", "_live"], ids=True)
        rows, versions = array_of(table, "_row"), array_of(table, "_version")
        at = newest(rows, versions)
        return Keys(rows[at], versions[at], array_of(table, "_live")[at], array_of(table, "_rowid")[at], len(rows))

    def lookup(self, rows: np.ndarray, columns: list[str] | None = None) -> pa.Table:
        """The newest entries of `rows` (ascending, distinct), in that order; rows not known are absent."""
        wanted = None if columns is None else list(dict.fromkeys(["_row", "_version", *columns]))
        if "keys" not in self.__dict__ and len(rows) <= _LOOKUP_BY_FILTER:
            condition = f"_row IN ({', '.join(map(str, rows.tolist()))})" if len(rows) else "_row < 0"
            table = self.read(wanted, condition)
            return table.take(pa.array(newest(array_of(table, "_row"), array_of(table, "_version"))))
        at = self.keys.positions(rows)
        return self.take_ordered(self.keys.ids[at[at >= 0]], wanted)

    def since(self, version: int, columns: list[str] | None = None) -> pa.Table:
        """The newest entries of rows written after `version`, in row order."""
        table = self.read(columns, f"_version > {int(version)}")
        return table.take(pa.array(newest(array_of(table, "_row"), array_of(table, "_version"))))

    def take_ordered(self, ids: np.ndarray, columns: list[str] | None = None) -> pa.Table:
        """The entries with these ids (one per row), in row order."""
        if len(ids) == 0:
            return self.read(columns, "_row < 0")
        table = self.take(ids, columns)
        rows = array_of(table, "_row")
        return table if bool((rows[1:] > rows[:-1]).all()) else table.take(pa.array(np.argsort(rows)))

    def scan(self, batch_rows: int, columns: list[str] | None = None, within: np.ndarray | None = None) -> Iterator:
        """The newest entries in row order, as tables of `batch_rows`; `within` are positions in `keys`."""
        ids = self.keys.ids if within is None else self.keys.ids[within]
        for start in range(0, len(ids), batch_rows):
            yield self.take_ordered(ids[start : start + batch_rows], columns)


def damaged(place: Path, error: Exception) -> ArtifactError:
    """The error for a table that cannot be read."""
    told = str(error).split(", /rustc")[0][:300]
    return ArtifactError(f"{place} is damaged, or was tidied away while it was read: {told}")


CACHE_BYTES = 4 << 20
"""The most that the engine keeps of manifests, and of indexes. Every commit has a manifest of its own, and by default a
process that commits all day keeps a gigabyte of them."""


class Tables:
    """The Lance tables in one folder. Writers append and commit elsewhere; readers ask for a pinned version."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.path, self.fsync = path, fsync
        self._pins: dict[str, tuple[int, Pinned]] = {}
        self._heads: dict[str, Any] = {}
        self._synced: dict[str, set[str]] = {}
        self._guard = threading.Lock()
        self.session: Any = None

    @cached_property
    def _db(self) -> Any:
        import lancedb  # costs over a second, so whoever only opens a store does not pay it

        self.session = lancedb.Session(index_cache_size_bytes=CACHE_BYTES, metadata_cache_size_bytes=CACHE_BYTES)
        return lancedb.connect(str(self.path), session=self.session)

    def pin(self, name: str, version: int) -> Pinned:
        """A table at a version.

        Raises:
            ArtifactError: its files are missing or damaged.
        """
        with self._guard:
            known = self._pins.get(name)
            if known is not None and known[0] == version:
                return known[1]
            try:
                handle = self._db.open_table(name)
                handle.checkout(version)
            except (ValueError, RuntimeError, OSError) as error:
                raise damaged(self.path / f"{name}.lance", error) from error
            found = Pinned(handle, self.path / f"{name}.lance")
            self._pins[name] = (version, found)
            return found

    def head(self, name: str) -> Any:
        """The handle the writer appends with."""
        if name not in self._heads:
            self._heads[name] = self._db.open_table(name)
        return self._heads[name]

    def exists(self, name: str) -> bool:
        return (self.path / f"{name}.lance").is_dir()

    def recover(self, versions: dict[str, int]) -> dict[str, int]:
        """Take back what a killed writer appended beyond `versions`; returns the versions to go on from."""
        self._heads = {name: head for name, head in self._heads.items() if name in versions}
        found = {}
        for name, version in versions.items():
            head = self.head(name)
            head.checkout_latest()
            if head.version != version:
                head.restore(version)
                self._settle(name)
            found[name] = head.version
        return found

    def append(self, name: str, table: pa.Table | pa.RecordBatchReader, *, fresh: bool) -> int:
        """Append entries and return the table's new version; `fresh` starts the table anew. A reader is written as it

        is read, so what it brings need not fit in memory.
        """
        if not fresh:
            self.head(name).add(table)
        elif self.exists(name):
            self._heads[name] = self._db.create_table(name, table, mode="overwrite")
        else:
            self.path.mkdir(exist_ok=True)
            self._heads[name] = self._db.create_table(name, table)
        self._settle(name)
        return self._heads[name].version

    def replace(self, name: str, parts: Iterable[pa.Table]) -> int:
        """Replace the content of a table; returns its new version."""
        mode = "overwrite"
        for part in parts:
            self.head(name).add(part, mode=mode)
            mode = "append"
        self._settle(name)
        return self.head(name).version

    def merge(self, name: str, keep_seconds: float) -> int:
        """Merge small fragments and delete states superseded longer than that ago; returns the new version."""
        head = self.head(name)
        now = time.time()
        written = [v["timestamp"].timestamp() for v in head.list_versions()]
        # Lance deletes by age of writing; what matters is the age of being superseded. The two differ for one version:
        # the newest of those old enough was the present one until its successor came, perhaps a moment ago.
        horizon = max((t for t in written if t < now - keep_seconds), default=now - keep_seconds)
        head.optimize(cleanup_older_than=timedelta(seconds=now - horizon + 0.002))
        give_back()
        self._settle(name)
        return head.version

    def rewrite(self, name: str, version: int, batch_rows: int, keep_seconds: float) -> int:
        """Replace a log by its newest entries in row order; returns the new version."""
        self.replace(name, self.pin(name, version).scan(batch_rows))
        return self.merge(name, keep_seconds)

    def link(self, name: str, target: Path) -> None:
        """A copy of a table under `target`; its data files are linked, not copied, where the disk allows it.

        Lance never changes a data file once written, so the copy stays as it is whatever happens to the table.
        """
        source = self.path / f"{name}.lance"
        for folder in sorted(p for p in source.iterdir() if p.is_dir()):
            copy_files(folder, target / source.name / folder.name, link=folder.name == "data")
        fsync_folder(target / source.name)

    def _settle(self, name: str) -> None:
        """Have the disk hold the files written since the last call: all at once, for it writes them down together."""
        if not self.fsync:
            return
        root = self.path / f"{name}.lance"
        written: list[Path] = []
        held: dict[str, set[str]] = {}
        for part in ("data", "_deletions", "_transactions", "_versions"):
            folder = root / part
            if not folder.is_dir():
                continue
            now = set(os.listdir(folder))
            fresh = now - self._synced.get(str(folder), set())
            if fresh:
                written += [folder, *(folder / file for file in fresh)]
            held[str(folder)] = now
        list(self._syncing.map(fsync_file, written))
        self._synced.update(held)

    @cached_property
    def _syncing(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_SYNCS, thread_name_prefix="sync")

    def bytes(self) -> int:
        """Bytes on disk, superseded states included."""
        return sum(p.stat().st_size for p in self.path.rglob("*") if p.is_file()) if self.path.exists() else 0

    def close(self) -> None:
        """Forget every open handle."""
        self._pins.clear()
        self._heads.clear()
        self._synced.clear()
        self.__dict__.pop("_db", None)
        syncing = self.__dict__.pop("_syncing", None)
        if syncing is not None:
            syncing.shutdown()


def array_of(table: pa.Table, name: str) -> np.ndarray:
    """A column without nulls as an array [n]."""
    return table.column(name).to_numpy()


def matrix_of(table: pa.Table, name: str = "vector") -> np.ndarray:
    """A column of fixed-size lists as an array [n, d]."""
    column = table.column(name)
    d = column.type.list_size
    out = np.empty((len(column), d), column.type.value_type.to_pandas_dtype())
    start = 0
    for chunk in column.chunks:
        out[start : start + len(chunk)] = chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, d)
        start += len(chunk)
    return out


def read_from(parts: Iterator[pa.Table]) -> pa.RecordBatchReader | None:
    """Tables of one schema as a reader that asks for them one after another; None where there are none."""
    first = next(parts, None)
    if first is None:
        return None

    def batches() -> Iterator[pa.RecordBatch]:
        yield from first.to_batches()
        for part in parts:
            yield from part.cast(first.schema).to_batches()

    return pa.RecordBatchReader.from_batches(first.schema, batches())


def vector_table(rows: np.ndarray, values: np.ndarray, version: int) -> pa.Table:
    """Entries of a vector log."""
    n, d = values.shape
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), d)
    stamps = {"_row": rows, "_version": np.full(n, version, np.int64), "_live": np.ones(n, bool)}
    return pa.table({**stamps, "vector": column})
