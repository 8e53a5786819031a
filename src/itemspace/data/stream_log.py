"""A log larger than memory, read in two passes: vocabularies first, then events as packed arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.errors import DataError
from itemspace.core.ids import Ids, string_ids
from itemspace.core.interactions import Interactions
from itemspace.core.schema import Schema
from itemspace.data.frame import Frame
from itemspace.data.reader import Reading
from itemspace.data.rejects import Rejects
from itemspace.data.stream import CHUNK_ROWS, iter_tables
from itemspace.data.tables import log_columns


def stream_interactions(
    path: str | Path, items: Ids, *, chunk_rows: int = CHUNK_ROWS, reading: Reading | None = None, id_column: str = ""
) -> Interactions:
    """The log that `read_tables` would make of the file, two passes over it, a chunk in memory.

    Columns are found as in `read_tables`; `id_column` is what the catalogue calls its ID. Events of items not in `items`
    are rejected. What stays: 8 bytes an event, 8 more with times, 4 with weights, 2 with kinds of event and 4 with
    sessions (sorting them takes as much again for a moment), and the distinct users and sessions as text.
    """
    path, reading = Path(path), reading or Reading()
    quiet = replace(reading, rejects=Rejects.ignored(), notes=[], files=[])
    words = _Vocabularies()
    for frame in iter_tables(path, chunk_rows, reading=quiet):
        words.read(frame, log_columns(frame, quiet, item=id_column or None))
    strict = replace(reading, unknown="refuse")
    users = Ids.permuted(words.users.values(), seed=reading.seed, kind="user")
    log = EventArrays(items, users, words.count, words.sessions.values())
    catalog = Catalog(pa.table({"item_id": items.values}), Schema({"item_id": "id"}), items)
    for frame in iter_tables(path, chunk_rows, reading=strict):
        _read(log, frame, log_columns(frame, strict, item=id_column or None), catalog, strict)
    if log.count == 0:
        raise DataError("no event is left.", file=path.name)
    return log.interactions()


def _read(log: EventArrays, frame: Frame, names: dict[str, str], catalog: Catalog, reading: Reading) -> None:
    user, item, weight = names["user"], names["item"], names.get("weight")
    _, frame, times = reading.usable_events(frame, catalog, user=user, item=item, time=names.get("time"), weight=weight)
    event, session = ((None if part not in names else string_ids(frame.column(names[part]))) for part in _TEXTS)
    log.add(
        frame.column(user),
        frame.column(item),
        time=times,
        weight=None if weight is None else np.asarray(frame.column(weight), np.float32),
        event=None if event is None else event.fill_null("event"),
        session=session,
    )


_TEXTS = ("event", "session")


class Distinct:
    """Distinct texts in order of first appearance, joined as they come; each joining costs a pass over what is known."""

    def __init__(self) -> None:
        self._known: pa.Array = pa.array([], pa.large_string())
        self._fresh: list[pa.Array] = []

    def add(self, values: pa.Array) -> None:
        self._fresh.append(string_ids(values).unique().drop_null())
        if len(self._fresh) >= 64 or sum(map(len, self._fresh)) > len(self._known) + CHUNK_ROWS:
            self.values()

    def values(self) -> pa.Array:
        """All of them so far, large_string."""
        self._known = pa.concat_arrays([self._known, *self._fresh]).unique()
        self._fresh.clear()
        return self._known


class _Vocabularies:
    """The distinct users and sessions of a log, and how many rows it has."""

    def __init__(self) -> None:
        self.users, self.sessions, self.count = Distinct(), Distinct(), 0

    def read(self, frame: Frame, names: dict[str, str]) -> None:
        self.count += len(frame)
        self.users.add(frame.column(names["user"]))
        if "session" in names:
            self.sessions.add(frame.column(names["session"]))


@dataclass
class EventArrays:
    """Events as they come, in arrays of room for `most`; items and users that are unknown must be gone already."""

    items: Ids
    users: Ids
    most: int
    sessions: pa.Array | None = None
    count: int = 0
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)

    def add(self, user: pa.Array, item: pa.Array, **optional: Any) -> None:
        """Append events: external IDs of users and items [n]; `time` int64, `weight` float32, `event` and `session` as

        text, each [n] or None.
        """
        n = len(user)
        columns = {"user": self.users.find(user), "item": self.items.find(item)}
        for name, values in optional.items():
            if values is not None:
                coded = {"event": self._event_codes, "session": self._session_codes}.get(name, np.asarray)
                columns[name] = coded(values)
        for name, values in columns.items():
            held = self.columns.setdefault(name, np.zeros(self.most, values.dtype))
            held[self.count : self.count + n] = values
        self.count += n

    def _event_codes(self, names: pa.Array) -> np.ndarray:
        encoded = names.dictionary_encode()
        told = [str(name) for name in encoded.dictionary.to_pylist()]
        self.events += [name for name in told if name not in self.events]
        numbers = np.array([self.events.index(name) for name in told], np.int16)
        return numbers[np.asarray(encoded.indices)]

    def _session_codes(self, names: pa.Array) -> np.ndarray:
        return np.asarray(pc.index_in(names, value_set=self.sessions).fill_null(-1), np.int32)

    def interactions(self) -> Interactions:
        """Everything that was added, sorted by user and time."""
        at = {name: values[: self.count] for name, values in self.columns.items()}
        self.columns.clear()
        return Interactions(
            at.pop("user"), at.pop("item"), self.users, self.items, events=tuple(self.events), **at
        ).sorted()
