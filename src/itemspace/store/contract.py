"""`Store`: the record of what the user gave and of what was expensive to make, durable and versioned.

Every write is one transaction, acknowledged when the call returns: after that it survives a kill; before that nothing
of it is visible. Rows are the caller's: the store remembers what each row holds, and never moves or reuses one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from itemspace.core.config import Component, Config
from itemspace.core.contracts import Encoder, Retriever
from itemspace.core.errors import ArtifactError, ContractError
from itemspace.core.files import remove_tree

EVENT_SCHEMA = pa.schema(
    [
        pa.field("user", pa.large_string()),
        pa.field("item", pa.large_string()),
        pa.field("time", pa.int64()),
        pa.field("event", pa.large_string()),
        pa.field("weight", pa.float32()),
    ]
)
"""The columns of events; `user` and `item` may not be null, the rest may be null or absent."""


class StoreConfig(Config):
    """What every store can be told."""

    fsync: bool = True
    """Whether a write also waits for the disk. Without it a kill loses nothing, a power cut may."""
    compact_after: int = 200
    """How many small writes to a table may pile up before the next write tidies it."""
    keep_seconds: float = 600.0
    """How long a superseded state stays readable for readers at work on it (snapshots stay until dropped)."""
    keep_versions: int = 2000
    """How many superseded states are kept at most, when writes come fast."""
    search: bool = False
    """Whether a Space's dense search is asked of the store's database instead of the Space's own index."""


class UnreachableError(ArtifactError):
    """The server that holds a store does not answer, or its address is not known here. The store itself may be whole."""


@dataclass(frozen=True)
class Changes:
    """What happened to items after a version: enough for an index to catch up.

    version: the version caught up to. rows: int32 [n], ascending, items put, updated or removed. live: bool [n], False
    where removed. table: their columns as they are now, [n] rows. `vectors(name)` gives (rows, values) of the live items
    that were put, or whose vector was written, after that version; a price update is neither.
    """

    version: int
    rows: np.ndarray
    live: np.ndarray
    table: pa.Table
    _vectors: Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def removed(self) -> np.ndarray:
        """Rows that must not be answered any more."""
        return self.rows[~self.live]

    def vectors(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Rows int32 [m] and vectors [m, d] that an index must hold anew."""
        rows, values, _ = self._vectors(name)
        return rows, values

    def lost(self, name: str) -> np.ndarray:
        """Rows int32 of live items that no longer have a vector, because an older state was brought back."""
        return self._vectors(name)[2]


class Store(Component, ABC):
    """The record of one catalogue. One writer at a time over all processes, any number of readers.

    A reader sees what a writer acknowledged from its next call on. The first write takes the writer's lock and keeps it
    until `close` or `release`; another writer is refused with the number of the process that holds it.
    """

    config: StoreConfig

    @classmethod
    @abstractmethod
    def create(
        cls, path: str | Path, *, items_schema: pa.Schema, id_column: str, config: StoreConfig | None = None
    ) -> Self:
        """An empty store at `path`, held for writing.

        Raises:
            ArtifactError: something is there already.
            SchemaError: a column has a reserved name ("_...") or a type no store keeps; the message names it.
        """

    @classmethod
    @abstractmethod
    def open(cls, path: str | Path, *, config: StoreConfig | None = None) -> Self:
        """The store at `path`, for reading; it may also write once no one else does.

        Raises:
            ArtifactError: missing or damaged.
            FormatVersionError: a newer itemspace wrote it.
        """

    @classmethod
    def delete(cls, path: str | Path) -> None:
        """Delete the store at `path` and everything it keeps anywhere. What is already gone is fine.

        Raises:
            ArtifactError: its database does not answer; nothing is deleted then.
        """
        remove_tree(Path(path))

    @abstractmethod
    def close(self) -> None:
        """Give up the writer's lock and every open file."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Self]:
        """Hold the writer's lock for a `with` block, so that what is read inside stays true until it is written.

        Raises:
            ArtifactError: another writer holds it; names the process.
        """

    @abstractmethod
    def release(self) -> None:
        """Give up the writer's lock; the store stays open for reading."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    @abstractmethod
    def version(self) -> int:
        """The number of the last acknowledged write, over everything the store holds. It only grows."""

    @property
    @abstractmethod
    def items_schema(self) -> pa.Schema:
        """The columns of items, as kept (dictionary columns decoded)."""

    @property
    @abstractmethod
    def id_column(self) -> str:
        """The column that holds the external ID."""

    @abstractmethod
    def put_items(
        self, rows: np.ndarray, table: pa.Table, *, vectors: Mapping[str, np.ndarray | None] | None = None
    ) -> int:
        """Insert or replace items: `rows` int32 [n], distinct; `table` n rows (absent columns become null).

        `vectors[name]` float16 or float32 [n, d]; None, or a name left out, leaves the vectors of that name alone.
        A removed row that is put again is live again. Returns the new version.

        Raises:
            SchemaError: an unknown column, or a missing ID column.
            DataError: a value that does not fit, lengths that differ, or a row given twice.
        """

    def load_items(self, parts: Iterable[tuple[np.ndarray, pa.Table]]) -> int:
        """`put_items` of more than memory holds: rows and tables in pieces, no row in two of them. Returns the version.

        A store that can makes one write of it; otherwise each piece is one.
        """
        for rows, table in parts:
            self.put_items(rows, table)
        return self.version

    def load_vectors(self, name: str, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        """`put_vectors` of more than memory holds, in pieces as `load_items`."""
        for rows, values in parts:
            self.put_vectors(name, rows, values)
        return self.version

    def load_events(self, parts: Iterable[pa.Table]) -> int:
        """`append_events` of more than memory holds, in pieces, in order."""
        for table in parts:
            self.append_events(table)
        return self.version

    @abstractmethod
    def update_items(self, rows: np.ndarray, table: pa.Table) -> int:
        """Change some columns of known items, leaving other columns and vectors alone. Returns the new version.

        Raises:
            DataError: a row is unknown or given twice, or a value does not fit.
            SchemaError: an unknown column, or the ID column.
        """

    @abstractmethod
    def remove_items(self, rows: np.ndarray) -> int:
        """Mark known items as removed. The rows stay, and are never given to others. Returns the new version.

        Raises:
            DataError: a row is unknown.
        """

    @abstractmethod
    def items(self, columns: list[str] | None = None) -> tuple[np.ndarray, np.ndarray, pa.Table]:
        """Every item ever put, in row order: rows int32 [n], live bool [n], table [n]."""

    @abstractmethod
    def scan_items(
        self, batch_rows: int = 65_536, columns: list[str] | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray, pa.Table]]:
        """`items` in pieces of `batch_rows`, all of the version at which the scan began; memory stays bounded."""

    @abstractmethod
    def vector_names(self) -> list[str]:
        """The names under which vectors are kept."""

    @abstractmethod
    def put_vectors(self, name: str, rows: np.ndarray, values: np.ndarray) -> int:
        """Insert or replace the vectors of known items: rows int32 [n], values float16 or float32 [n, d].

        Raises:
            DataError: a row is unknown or given twice, a number is not finite, or the shape or type differs from what is
                kept under this name.
        """

    @abstractmethod
    def vectors(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The vectors of live items in row order: rows int32 [n], values [n, d].

        Raises:
            DataError: there are none of this name.
        """

    @abstractmethod
    def scan_vectors(self, name: str, batch_rows: int = 65_536) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """`vectors` in pieces of `batch_rows`, all of the version at which the scan began."""

    @abstractmethod
    def append_events(self, table: pa.Table) -> int:
        """Add events (columns of `EVENT_SCHEMA`). Returns the new version.

        Raises:
            DataError: a user or item is missing, or a value does not fit.
            SchemaError: an unknown column.
        """

    @abstractmethod
    def events(self, since: int = 0) -> pa.Table:
        """Events acknowledged after version `since`, in the order they were appended, with their `_version`."""

    def scan_events(self, batch_rows: int = 262_144) -> Iterator[pa.Table]:
        """`events` in pieces of at most `batch_rows`, in the order they were appended."""
        table = self.events()
        for start in range(0, table.num_rows, batch_rows):
            yield table.slice(start, batch_rows)

    @abstractmethod
    def changes(self, since: int) -> Changes:
        """Items put, updated or removed after version `since`."""

    @abstractmethod
    def put_meta(self, key: str, value: Any) -> int:
        """Keep a JSON value under `key` (letters, digits, ".", "_", "-"). Returns the new version."""

    @abstractmethod
    def meta(self, key: str, default: Any = None) -> Any:
        """The JSON value under `key`, or `default`."""

    @abstractmethod
    def compact(self) -> int:
        """Drop superseded copies and merge small pieces. No answer changes. Returns the version."""

    @abstractmethod
    def snapshot(self, tag: str) -> int:
        """Name the present state so that `restore` can bring it back at any later time. Returns its version."""

    @abstractmethod
    def drop_snapshot(self, tag: str) -> int:
        """Let a snapshot go; its space is reclaimed in time."""

    @abstractmethod
    def snapshots(self) -> dict[str, int]:
        """Tag -> version."""

    @abstractmethod
    def restore(self, to: str | int) -> int:
        """Bring back items, vectors, events and meta as they were at a tag or version, as a new version.

        What changed in between shows in `changes`, so that indexes follow; `events_reset` tells readers of events.

        Raises:
            DataError: no such tag, or a version no longer kept.
        """

    @abstractmethod
    def versions(self) -> dict[int, float]:
        """The versions that `restore` can bring back -> when they were acknowledged (Unix seconds)."""

    @property
    @abstractmethod
    def events_reset(self) -> int:
        """The version at which events were last rolled back: a reader of `events(since)` older than it starts over."""

    def searching(self, encoder: Encoder, name: str) -> Retriever:
        """The store's database as the search engine over the vectors kept under `name`; where it has none, it says so.

        Raises:
            ContractError: this kind of store does not search by itself.
        """
        raise ContractError(
            f"{type(self).__name__} keeps the record and does not search. Leave `search` out: an index searches then."
        )

    @abstractmethod
    def stats(self) -> dict[str, Any]:
        """Counts and sizes: version, items, live, events, vectors by name, bytes, fragments, snapshots."""
