"""`Entries`: what a database does for a store, and no more: it keeps entries of logs, and commits.

An entry is what a row of a log holds as of a version; the newest one at or before a version counts there. A store over
such a database (`versioned.VersionedStore`) is then the same whatever the database: PostgreSQL, Milvus.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import ArtifactError

ITEMS, VECTORS = "items", "vectors-"
"""Names of logs; vectors have one log per name, after the prefix."""


@dataclass(frozen=True)
class State:
    """A store after write `version`, which was acknowledged at `written` (Unix seconds).

    vectors: name -> (dtype, numbers each). meta: key -> version that wrote it. snapshots: tag -> version. events: how
    many there are. cuts: (version, count): as of that version, of the events written before it only so many are left.
    void: versions that never were: their writer was killed, and what it sent may still arrive.
    """

    version: int = 0
    written: float = 0.0
    vectors: dict[str, tuple[str, int]] = field(default_factory=dict)
    meta: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    events: int = 0
    events_reset: int = 0
    cuts: tuple[tuple[int, int], ...] = ()
    void: tuple[int, ...] = ()

    def next(self, **changed: Any) -> State:
        """The state that the write at hand will leave."""
        return replace(self, version=self.version + 1, **changed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> State:
        """What `to_json` made.

        Raises:
            ArtifactError: it is not that.
        """
        try:
            vectors = {name: (str(dtype), int(d)) for name, (dtype, d) in value["vectors"].items()}
            cuts, void = tuple((int(v), int(n)) for v, n in value["cuts"]), tuple(map(int, value.get("void", ())))
            return cls(**{**value, "vectors": vectors, "cuts": cuts, "void": void})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the store's database holds a commit that cannot be read: {error}.") from None

    def cuts_at(self, version: int) -> tuple[tuple[int, int], ...]:
        """The cuts that were made up to a version."""
        return tuple(cut for cut in self.cuts if cut[0] <= version)


class Entries(ABC):
    """A database's side of a store. Calls between `transaction` and its end are one write: all of it, or nothing.

    Entries of items are tables of `_row`, `_version`, `_live`, `_put` and the columns of items; of vectors, of `_row`,
    `_version`, `_live` and a fixed-size list `vector`. Within one write, no row occurs twice in a log.
    """

    @property
    @abstractmethod
    def held(self) -> bool:
        """Whether this object has the writer's place."""

    @abstractmethod
    def hold(self) -> None:
        """Take the writer's place, and clear away what a killed writer left behind.

        Raises:
            InUseError: another writer has it; names the process.
        """

    @abstractmethod
    def let_go(self) -> None:
        """Give the writer's place back."""

    @abstractmethod
    def close(self) -> None:
        """Give back the place and every connection."""

    @abstractmethod
    def latest(self) -> State:
        """The state after the last acknowledged write."""

    @abstractmethod
    def at(self, version: int) -> State:
        """The state after write `version`.

        Raises:
            DataError: it is not kept any more.
        """

    @abstractmethod
    def dated(self) -> dict[int, float]:
        """The versions kept -> when they were written (Unix seconds)."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[None]:
        """What is written inside is seen once `commit` was called in it and it ended well; else none of it ever is."""

    @abstractmethod
    def add(self, log: str, entries: pa.Table) -> None:
        """Add entries, which from their version on stand for their rows. The first entries of a log make it."""

    @abstractmethod
    def add_events(self, events: pa.Table) -> None:
        """Add events with their `_version` and `_sequence`."""

    @abstractmethod
    def write_meta(self, key: str, version: int, value: str) -> None:
        """Keep a text as what `version` wrote under `key`."""

    @abstractmethod
    def commit(self, state: State) -> None:
        """Write down the state to be acknowledged: the last call in a transaction."""

    @abstractmethod
    def read(
        self,
        log: str,
        at: State,
        columns: list[str] | None = None,
        *,
        rows: np.ndarray | None = None,
        since: int | None = None,
    ) -> pa.Table:
        """The entries that count at a state, in row order; of some `rows` (ascending), or written after `since`.

        columns: of items; `_row`, `_version`, `_live` and `_put` always come. None for all.
        """

    @abstractmethod
    def keys(self, log: str, at: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows int32 [n], ascending, with the version int64 [n] of their entry at a state, and whether it is live."""

    @abstractmethod
    def events(self, at: State, start: int, stop: int, since: int = 0) -> pa.Table:
        """Events numbered from `start` to before `stop` written after `since`, in order: `EVENT_SCHEMA`, `_version`."""

    @abstractmethod
    def read_meta(self, key: str, version: int) -> str:
        """What `write_meta` was given."""

    @abstractmethod
    def prune(self, state: State, kept: list[int]) -> State:
        """Forget what no version in `kept` (ascending, the present one last) shows. The state, less cuts no longer needed.

        Called in a transaction, before anything is added.
        """

    @abstractmethod
    def settle(self) -> None:
        """What is due after much was forgotten; called outside of transactions."""

    @abstractmethod
    def bytes(self) -> int:
        """Bytes the store takes in the database."""

    @abstractmethod
    def drop(self) -> None:
        """Delete everything the store has in the database."""
