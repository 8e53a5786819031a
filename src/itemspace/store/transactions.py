"""One transaction over several Lance tables: the lock, the commit to build on, and taking back what failed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

import pyarrow as pa

from itemspace.core.errors import ArtifactError
from itemspace.core.files import FileLock
from itemspace.store import about
from itemspace.store.columns import kept_schema
from itemspace.store.commits import Commit, CommitLog
from itemspace.store.contract import Store, StoreConfig
from itemspace.store.recent import SMALL
from itemspace.store.tables import Pinned, Tables
from itemspace.store.upkeep import keep_seconds, prune_log, tidy

KIND, FORMAT = "store.lance", 1
ITEMS, EVENTS, VECTORS = "items", "events", "vectors-"
"""Table names; vectors have one table per name, after the prefix."""


class Transactional(Store):
    """The part of `LanceStore` that makes writes atomic; the tables' meaning is the subclass's."""

    config: StoreConfig
    _schema: pa.Schema
    _id_column: str

    def __init__(self, path: Path, config: StoreConfig | None = None) -> None:
        """Use `create` or `open`."""
        super().__init__(config or StoreConfig())
        self.location = Path(path)
        self._log = CommitLog(self.location)
        self._tables = Tables(self.location / "tables", fsync=self.config.fsync)
        self._lock = FileLock(self.location / "LOCK", what=f"{self.location}")
        self._guard = threading.RLock()
        self._heads: dict[str, int] = {}
        self._sound = False  # whether `_heads` is what this object left
        self._appended: dict[str, pa.Table | None] = {}
        self._seen = 0

    @classmethod
    def create(
        cls, path: str | Path, *, items_schema: pa.Schema, id_column: str, config: StoreConfig | None = None
    ) -> Self:
        kept = kept_schema(items_schema, id_column)
        made = cls(Path(path), config)
        about.refuse_taken(made.location)
        made.location.mkdir(parents=True, exist_ok=True)
        made._lock.acquire()
        made._log.create()
        made._log.hold()
        about.write(made.location, about.described(KIND, FORMAT, kept, id_column))
        made._schema, made._id_column = kept, id_column
        return made

    @classmethod
    def open(cls, path: str | Path, *, config: StoreConfig | None = None) -> Self:
        opened = cls(Path(path), config)
        said = about.read(opened.location)
        opened._schema, opened._id_column = about.columns(opened.location, said, KIND, FORMAT)
        # Without loading the engine: a record that has lost a table must not pass for whole until the next write.
        for name in opened._now().tables:
            if not (folder := opened.location / "tables" / f"{name}.lance").is_dir():
                raise ArtifactError(f"{folder} is damaged: the store has lost its table of {name}.")
        return opened

    def close(self) -> None:
        with self._guard:
            self.release()
            self._tables.close()

    def release(self) -> None:
        with self._guard:
            self._log.let_go()
            self._lock.release()

    @contextmanager
    def writing(self) -> Iterator[Self]:
        with self._guard:
            held = self._lock.held
            self._acquire()
            try:
                yield self
            finally:
                if not held:
                    self.release()

    # -- state ---------------------------------------------------------------------------------------------------------

    def _now(self) -> Commit:
        """The state after the last acknowledged write."""
        commit = self._log.latest()
        self._seen = commit.version
        return commit

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

    def _pin(self, commit: Commit, name: str) -> Pinned | None:
        return self._tables.pin(name, commit.tables[name]) if name in commit.tables else None

    def _acquire(self) -> Commit:
        """Take the writer's lock (once) and put the tables where the last commit says."""
        if self._lock.held:
            return self._log.latest()
        self._lock.acquire()
        try:
            commit = self._log.hold()
            if not (self._sound and self._lock.undisturbed):
                self._sound = False
                self._heads = self._tables.recover(commit.tables)
                self._sound = True
            self._remember(commit)
        except BaseException:
            self.release()
            raise
        return commit

    def _append(self, commit: Commit, name: str, table: pa.Table | pa.RecordBatchReader) -> Commit:
        """Append to a table; the commit to come names the result."""
        fresh = name not in commit.tables
        self._heads[name] = self._tables.append(name, table, fresh=fresh)
        little = isinstance(table, pa.Table) and table.num_rows <= SMALL and name not in self._appended
        self._appended[name] = table if little else None
        writes = {**commit.writes, name: commit.writes.get(name, 0) + 1}
        return replace(commit, tables={**commit.tables, name: self._heads[name]}, writes=writes)

    def _commit(self, commit: Commit) -> int:
        """Acknowledge."""
        for name, entries in self._appended.items():
            if entries is not None:
                self._log.write_appended(commit.version, name, self._heads[name], entries)
        self._appended = {}
        self._log.write(replace(commit, tables={name: self._heads[name] for name in commit.tables}))
        self._seen = commit.version
        return commit.version

    @contextmanager
    def _transaction(self) -> Iterator[Commit]:
        """The commit to build on; whatever was appended when an error interrupts is taken back."""
        with self._guard:
            held = self._lock.held
            latest = self._acquire()
            try:
                yield self._tidied(latest)
            except BaseException:
                self._forget()
                self._appended, self._sound = {}, False
                self._heads = self._tables.recover(self._log.latest().tables)
                self._sound = True
                if not held:
                    self.release()
                raise

    def _forget(self) -> None:
        """Drop what is remembered about the content."""

    def _remember(self, commit: Commit) -> None:
        """Bring what is remembered about the content to `commit`: other processes may have changed it, or drop it."""

    def _tidied(self, commit: Commit) -> Commit:
        """`commit` after the upkeep that is due; the write at hand will name the result."""
        if commit.version % self.config.compact_after == self.config.compact_after - 1:
            prune_log(self._log, commit, keep=keep_seconds(self._log, self.config))
        if max(commit.writes.values(), default=0) < self.config.compact_after:
            return commit
        return self._tidy(commit, everything=False)

    def _tidy(self, commit: Commit, *, everything: bool) -> Commit:
        logs = {name for name in commit.tables if name != EVENTS}
        keep = keep_seconds(self._log, self.config)
        tidied = tidy(self._tables, self.config, commit, keep=keep, logs=logs, everything=everything)
        self._heads = dict(tidied.tables)
        self._forget()
        return tidied
