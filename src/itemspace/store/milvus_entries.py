"""Entries and commits in Milvus, which has no transactions: rows are only ever added, and a commit row makes them count.

```text
NS_commits   one row per acknowledged write: what `State.to_json` says
NS_items, NS_events, NS_meta, NS_v_NAME   entries, each with the version that wrote it
```
A write first adds its rows, which nobody looks at as long as their version is beyond the last commit, then its commit
row: one insertion of one row, which is there or not. What a write that failed left beyond the last commit is deleted.

After a writer was killed (it leaves the file `DIRTY`), or a call was cut off, what it sent last may still arrive, its
commit row included. So the next writer first commits a state that declares the version after the last one void, and
goes on after that: rows of a void version are never looked at, whenever they come.

Superseded entries go when no version that is kept shows them.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import ArtifactError, DataError
from itemspace.core.extras import require
from itemspace.core.files import FileLock
from itemspace.store.contract import EVENT_SCHEMA
from itemspace.store.entries import ITEMS, VECTORS, Entries, State
from itemspace.store.milvus_connection import MilvusConnection
from itemspace.store.milvus_rows import (
    FIELDS,
    bodies_of,
    counting,
    entries_of,
    row,
    rows_of,
    table_of,
    vector_bodies,
    vectors_of,
)
from itemspace.store.tables import VERSION, matrix_of, vector_table
from itemspace.store.versioned_states import visible

_PAGE = 8192
_MOST_ROWS, _MOST_BYTES = 2000, 8 << 20
_MOST_LISTED = 1000
"""Items that a filter names one by one; of more, the range they lie in is read."""
_MOST_VOID = 64
_FOREVER = np.iinfo(np.int64).max


class MilvusEntries(Entries):
    """`Entries` in collections whose names begin with the store's own. The writer's place is a lock in the folder."""

    def __init__(
        self, connection: MilvusConnection, namespace: str, schema: pa.Schema, lock: FileLock, *, fsync: bool
    ) -> None:
        self.connection, self.namespace, self.schema = connection, namespace, schema
        self._lock, self._fsync = lock, fsync
        self._last: State | None = None
        self._pending: State | None = None
        self._sound = False
        self._seen = 0
        self._fresh: set[str] = set()

    # -- collections -----------------------------------------------------------------------------------------------------

    def collection(self, log: str) -> str:
        """The collection of a log: letters, digits and "_" only."""
        name = log.replace(VECTORS, "v_", 1) if log.startswith(VECTORS) else log
        return f"{self.namespace}_" + re.sub(r"[^A-Za-z0-9_]", lambda found: f"_{ord(found[0]):02x}", name)

    def create(self) -> None:
        """The collections of an empty store, with its commit."""
        for log in ("commits", ITEMS, "events", "meta"):
            self._create(log)
        self._insert("commits", [self._commit_row(State())])

    def _create(self, log: str) -> None:
        self.create_record(self.collection(log))

    def create_record(self, name: str) -> None:
        """A collection of rows that are found by their numbers."""
        kinds = require("pymilvus", extra="milvus", needed_for="A store in Milvus").DataType

        client = self.connection.client()
        with self.connection.answering():
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("entry", kinds.VARCHAR, is_primary=True, max_length=200)
            for field in ("item", "version", "put", "part", "size"):
                schema.add_field(field, kinds.INT64)
            schema.add_field("live", kinds.BOOL)
            schema.add_field("body", kinds.VARCHAR, max_length=65_535)
            # A collection of Milvus has a vector; this one is never searched.
            schema.add_field("pad", kinds.FLOAT_VECTOR, dim=2)
            client.create_collection(name, schema=schema, consistency_level="Strong")
            index = client.prepare_index_params()
            index.add_index(field_name="pad", index_type="FLAT", metric_type="L2")
            client.create_index(name, index, sync=False)  # loading waits for it

    def drop(self) -> None:
        for name in self.connection.call("list_collections"):
            if name.startswith(f"{self.namespace}_"):
                self.connection.call("drop_collection", name)

    def _insert(self, log: str, rows: list[dict[str, Any]]) -> None:
        batch: list[dict[str, Any]] = []
        weight = 0
        for one in rows:
            if batch and (len(batch) >= _MOST_ROWS or weight + one["size"] > _MOST_BYTES):
                self.connection.call("insert", self.collection(log), batch)
                batch, weight = [], 0
            batch.append(one)
            weight += one["size"]
        if batch:
            self.connection.call("insert", self.collection(log), batch)

    def _query(self, log: str, condition: str, fields: list[str]) -> list[dict[str, Any]]:
        return self.connection.query(self.collection(log), condition, fields, page=_PAGE)

    # -- the writer's place ----------------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        return self._lock.held

    def hold(self) -> None:
        if self._lock.held:
            return
        self._lock.acquire()
        self._last = None
        try:
            left = self._dirty.exists()
            self._dirty.touch()
            if left:
                self._take_over()
            elif not self._sound:
                self._sweep()
        except BaseException:
            self._last = None
            self._lock.release()
            raise

    @property
    def _dirty(self) -> Path:
        """There while a writer has its place; left behind by one that was killed."""
        return self._lock.path.with_name("DIRTY")

    def _take_over(self) -> None:
        """Declare void what a killed writer, or a call that was cut off, may still bring about."""
        self._last, self._sound = None, False
        state = self.latest()
        void = (*state.void, state.version + 1)[-_MOST_VOID:]
        taken = replace(state, version=state.version + 2, void=void, written=time.time())
        self._insert("commits", [self._commit_row(taken)])
        self._last = taken
        self._sweep()

    def _sweep(self) -> None:
        """Delete what was written beyond the last commit, or is void: nobody has seen it."""
        self._sound = False
        state = self.latest()
        told = f"version > {state.version}" + (f" or version in {list(state.void)}" if state.void else "")
        for log in self._logs(state):
            self.connection.call("delete", self.connection.loaded(self.collection(log)), filter=told)
        self._sound = True

    @staticmethod
    def _logs(state: State) -> list[str]:
        return [ITEMS, "events", "meta", *(VECTORS + name for name in state.vectors)]

    def let_go(self) -> None:
        self._last = None
        if self._lock.held and self._sound:
            self._dirty.unlink(missing_ok=True)
        self._lock.release()

    def close(self) -> None:
        self.let_go()
        self.connection.close()

    # -- states ----------------------------------------------------------------------------------------------------------

    def latest(self) -> State:
        if self._last is not None and self.held:
            return self._last
        # Commits are few and old ones are forgotten; from the last one seen there are hardly any.
        found = self._query("commits", f"version >= {self._seen}", ["version", "part", "body"])
        if not found and self._seen:
            self._seen = 0
            found = self._query("commits", "version >= 0", ["version", "part", "body"])
        if not found:
            raise ArtifactError(f"{self.connection.what} is damaged: its database holds no commit.")
        state = self._state(max(found, key=lambda one: int(one["version"])))
        self._seen = state.version
        if self.held:
            self._last = state
        return state

    def at(self, version: int) -> State:
        listed = 0 <= version < 2**62 and version not in self.latest().void
        found = self._query("commits", f"version == {int(version)}", ["version", "body"]) if listed else []
        if not found:
            raise DataError(f"version {version} is not kept.", hint="Snapshots are kept: see snapshots().")
        return self._state(found[0])

    def _state(self, found: dict[str, Any]) -> State:
        return State.from_json(json.loads(found["body"]))

    def dated(self) -> dict[int, float]:
        void = self.latest().void
        found = [
            one for one in self._query("commits", "version >= 0", ["version", "put"]) if one["version"] not in void
        ]
        return {int(one["version"]): int(one["put"]) / 1e6 for one in found}

    # -- writing ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if not self._sound:
            self._take_over()
        self._pending = None
        self._fresh.clear()
        try:
            yield
            if self._pending is not None:
                if self._fsync:
                    self.connection.sync()
                self._insert("commits", [self._commit_row(self._pending)])
                if self._fsync:
                    self.connection.sync()
        except (ArtifactError, KeyboardInterrupt):
            self._last, self._sound = None, False  # cut off: what was sent may still arrive
            raise
        except BaseException:
            self._last, self._sound = None, False
            with suppress(ArtifactError):
                self._sweep()
            raise
        if self._pending is not None:
            self._last = self._pending

    def _commit_row(self, state: State) -> dict[str, Any]:
        body = json.dumps(state.to_json())
        if len(body) > 65_000:
            raise DataError("the store has too many snapshots, meta values or vectors to note in one commit.")
        return row(0, state.version, body, put=int(state.written * 1e6))

    def add(self, log: str, entries: pa.Table) -> None:
        if log == ITEMS:
            bodies = bodies_of(entries.select(self.schema.names))
        else:
            if log.removeprefix(VECTORS) not in self.latest().vectors and log not in self._fresh:
                if self.connection.call("has_collection", self.collection(log)):
                    self.connection.call("drop_collection", self.collection(log))  # of a write that never ended
                self._create(log)
                self._fresh.add(log)
            bodies = vector_bodies(matrix_of(entries))
        self._insert(log, rows_of(entries, bodies))

    def add_events(self, events: pa.Table) -> None:
        bodies = bodies_of(events.select(EVENT_SCHEMA.names))
        numbers = zip(
            events.column("_sequence").to_pylist(), events.column("_version").to_pylist(), bodies, strict=True
        )
        self._insert("events", [row(number, version, body) for number, version, body in numbers])

    def write_meta(self, key: str, version: int, value: str) -> None:
        pieces = [value[start : start + 60_000] for start in range(0, max(1, len(value)), 60_000)]
        self._insert("meta", [row(0, version, body, part=n, name=f"{key}.") for n, body in enumerate(pieces)])

    def commit(self, state: State) -> None:
        self._pending = state

    # -- reading ---------------------------------------------------------------------------------------------------------

    def read(
        self,
        log: str,
        at: State,
        columns: list[str] | None = None,
        *,
        rows: np.ndarray | None = None,
        since: int | None = None,
    ) -> pa.Table:
        bare = log == ITEMS and columns is not None and not columns
        found = self._shown(log, at, FIELDS[:-1] if bare else FIELDS, rows=rows, since=since)
        if log == ITEMS:
            return entries_of(found, self.schema, self.schema.names if columns is None else columns)
        dtype, d = at.vectors[log.removeprefix(VECTORS)]
        items, versions, live, _, bodies = counting(found)
        table = vector_table(items, vectors_of(bodies, dtype, d), 0)
        table = table.set_column(1, table.schema.field(1), pa.array(versions))
        return table.set_column(2, table.schema.field(2), pa.array(live))

    def _shown(
        self, log: str, at: State, fields: list[str], *, rows: np.ndarray | None = None, since: int | None = None
    ) -> list[dict[str, Any]]:
        """The rows of entries up to a state; superseded ones may be among them, but only beside their newest."""
        told = f"version <= {at.version}" + _not_void(at)
        if since is not None:
            told += f" and version > {int(since)}"
        if rows is None:
            return self._query(log, told, fields)
        if len(rows) == 0:
            return []
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 != len(rows) and len(rows) <= _MOST_LISTED:
            return self._query(log, f"{told} and item in {rows.tolist()}", fields)
        found = self._query(log, f"{told} and item >= {first} and item <= {last}", fields)
        if last - first + 1 == len(rows):
            return found
        wanted = set(rows.tolist())
        return [one for one in found if one["item"] in wanted]

    def keys(self, log: str, at: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        items, versions, live, _, _ = counting(self._shown(log, at, FIELDS[:-1]))
        return items, versions, live

    def events(self, at: State, start: int, stop: int, since: int = 0) -> pa.Table:
        told = (
            f"item >= {start} and item < {stop} and version <= {at.version} and version > {since if since > 0 else -1}"
        )
        found = self._query("events", told + _not_void(at), ["item", "version", "body"])
        for version, count in at.cuts:
            found = [one for one in found if one["item"] < count or one["version"] >= version]
        found.sort(key=lambda one: int(one["item"]))
        table = table_of([one["body"] for one in found], EVENT_SCHEMA)
        return table.append_column(VERSION, pa.array([int(one["version"]) for one in found], pa.int64()))

    def read_meta(self, key: str, version: int) -> str:
        found = self._query("meta", f"version == {version}", ["entry", "part", "body"])
        mine = sorted((one for one in found if one["entry"].startswith(f"{key}.0.")), key=lambda one: int(one["part"]))
        if not mine:
            raise ArtifactError(f"{self.connection.what} is damaged: it has lost the meta value `{key}`.")
        return "".join(one["body"] for one in mine)

    # -- upkeep ----------------------------------------------------------------------------------------------------------

    def prune(self, state: State, kept: list[int]) -> State:
        known = np.array(kept)
        for log in (ITEMS, *(VECTORS + name for name in state.vectors)):
            told = f"version <= {state.version}" + _not_void(state)
            found = self._query(log, told, ["entry", "item", "version"])
            item = np.fromiter((one["item"] for one in found), np.int64, len(found))
            version = np.fromiter((one["version"] for one in found), np.int64, len(found))
            until = superseded_at(item, version)
            self._delete(log, (found[i]["entry"] for i in np.flatnonzero(~visible(version, until, known)).tolist()))
        gone = [cut for cut in state.cuts if cut[0] <= kept[0]]
        for version_, count in gone:
            told = f"item >= {count} and version < {version_}"
            self.connection.call("delete", self.connection.loaded(self.collection("events")), filter=told)
        named = {f"{key}.0.{v:x}" for one in kept for key, v in self.at(one).meta.items()}
        values = self._query("meta", "version >= 0", ["entry"])
        self._delete("meta", (one["entry"] for one in values if one["entry"].rpartition(".")[0] not in named))
        commits = self._query("commits", "version >= 0", ["entry", "version"])
        self._delete("commits", (one["entry"] for one in commits if one["version"] not in set(kept)))
        return replace(state, cuts=tuple(cut for cut in state.cuts if cut not in gone))

    def _delete(self, log: str, entries: Iterable[str]) -> None:
        keys = list(entries)
        for start in range(0, len(keys), _MOST_LISTED):
            self.connection.call("delete", self.collection(log), ids=keys[start : start + _MOST_LISTED])

    def settle(self) -> None:
        return  # Milvus tidies by itself

    def bytes(self) -> int:
        if self.connection.embedded:
            return self.connection.bytes()
        return sum(
            int(one["size"]) for log in self._logs(self.latest()) for one in self._query(log, "version >= 0", ["size"])
        )


def _not_void(state: State) -> str:
    """The end of a condition that leaves out what never was."""
    return f" and version not in {list(state.void)}" if state.void else ""


def superseded_at(item: np.ndarray, version: np.ndarray) -> np.ndarray:
    """For entries [n] (parts of one share item and version): the version that supersedes each, int64 [n]."""
    order = np.lexsort((version, item))
    until = np.full(len(order), _FOREVER, np.int64)
    at, told = item[order], version[order]
    later = _FOREVER
    # From the last to the first: the next other version of the same item.
    starts = np.flatnonzero(np.r_[True, (at[1:] != at[:-1]) | (told[1:] != told[:-1])]) if len(order) else order
    following = np.r_[told[starts[1:]], later] if len(starts) else told
    same = np.r_[at[starts[1:]] == at[starts[:-1]], False] if len(starts) else np.zeros(0, bool)
    ends = np.where(same, following, _FOREVER)
    until[order] = np.repeat(ends, np.diff(np.r_[starts, len(order)]))
    return until
