"""`Interactions` and `Impressions`: what users did with items, and what they were shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.errors import DataError
from itemspace.core.hashing import fingerprint
from itemspace.core.ids import Ids, string_ids
from itemspace.core.ragged import Ragged


@dataclass(frozen=True)
class Interactions:
    """One row per event, sorted by (user, time), ties in input order. Users and items are rows of `users` and `items`.

    user, item: int32 [n]. time: int64 Unix seconds [n], or None where the source gives only an order.
    event: int16 [n] codes into `events`, or None. weight: float32 [n] (a rating, a count), or None.
    session: int32 [n] of session numbers, or None.
    """

    user: np.ndarray
    item: np.ndarray
    users: Ids
    items: Ids
    time: np.ndarray | None = None
    event: np.ndarray | None = None
    events: tuple[str, ...] = ()
    weight: np.ndarray | None = None
    session: np.ndarray | None = None

    @classmethod
    def from_columns(
        cls,
        user: Sequence[Any] | pa.Array | pa.ChunkedArray,
        item: Sequence[Any] | pa.Array | pa.ChunkedArray,
        *,
        items: Ids | None = None,
        users: Ids | None = None,
        time: np.ndarray | None = None,
        event: Sequence[str] | pa.Array | None = None,
        weight: np.ndarray | None = None,
        session: np.ndarray | None = None,
        seed: int = 0,
        file: str | None = None,
    ) -> Interactions:
        """Events from external IDs, in any order.

        Users and (where `items` is not given) items get rows by a seeded permutation. Without `time`, the order of the
        rows is the order of events.

        Raises:
            DataError: an item is not in `items`, or an ID is missing; names the first such row and counts the rest.
        """
        user_ids, item_ids = string_ids(user), string_ids(item)
        for column, ids in (("user", user_ids), ("item", item_ids)):
            if ids.null_count:
                row = int(np.flatnonzero(np.asarray(ids.is_null()))[0])
                raise DataError("the ID is missing", file=file, row=row + 1, column=column, count=ids.null_count)
        users = users or Ids.permuted(user_ids, seed=seed, kind="user")
        items = items or Ids.permuted(item_ids, seed=seed)
        item_rows, user_rows = items.find(item_ids), users.find(user_ids)
        for column, rows, ids in (("item", item_rows, item_ids), ("user", user_rows, user_ids)):
            unknown = np.flatnonzero(rows < 0)
            if len(unknown):
                row = int(unknown[0])
                raise DataError(
                    f'"{ids[row].as_py()}" is not a known {column}',
                    file=file,
                    row=row + 1,
                    column=column,
                    count=len(unknown),
                    hint="Add it to the catalogue, or set such rows aside with --rejects FILE.",
                )
        codes, names = (None, ()) if event is None else _encode_events(event)
        made = cls(user_rows, item_rows, users, items, time, codes, names, weight, session)
        return made.sorted()

    def sorted(self) -> Interactions:
        """The same events by (user, time), stable."""
        keys = (self.user,) if self.time is None else (self.time, self.user)
        order = np.lexsort(keys)
        if np.array_equal(order, np.arange(len(order))):
            return self
        return self.take(order)

    def take(self, rows: np.ndarray) -> Interactions:
        """Some events, in the order given (a boolean mask keeps their order)."""

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            time=pick(self.time),
            event=pick(self.event),
            weight=pick(self.weight),
            session=pick(self.session),
        )

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        return f"Interactions({len(self):,} events, {len(self.users):,} users, {len(self.items):,} items)"

    @cached_property
    def histories(self) -> Ragged:
        """The items of every user in time order: Ragged over `len(users)` rows."""
        return Ragged.from_groups(self.user, self.item, len(self.users))

    @cached_property
    def history_times(self) -> Ragged | None:
        """The times of `histories`' events."""
        return None if self.time is None else Ragged.from_groups(self.user, self.time, len(self.users))

    @property
    def position(self) -> np.ndarray:
        """Each event's place in its user's history, from 0 [n]. Events must be sorted (they are when built here)."""
        starts = np.concatenate(([0], np.cumsum(np.bincount(self.user, minlength=len(self.users)))))[:-1]
        return np.arange(len(self)) - starts[self.user]

    def counts(self) -> np.ndarray:
        """Events per item [items]."""
        return np.bincount(self.item, minlength=len(self.items))

    def concat(self, other: Interactions) -> Interactions:
        """Both, sorted. The two must share `users` and `items` vocabularies (or extend this one's)."""

        def both(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
            return None if a is None or b is None else np.concatenate([a, b])

        events = self.events + tuple(e for e in other.events if e not in self.events)
        event = None
        if self.event is not None and other.event is not None:
            lookup = np.array([events.index(e) for e in other.events], np.int16)
            event = np.concatenate([self.event, lookup[other.event]])
        return Interactions(
            np.concatenate([self.user, other.user]),
            np.concatenate([self.item, other.item]),
            other.users if len(other.users) >= len(self.users) else self.users,
            other.items if len(other.items) >= len(self.items) else self.items,
            both(self.time, other.time),
            event,
            events if event is not None else (),
            both(self.weight, other.weight),
            both(self.session, other.session),
        ).sorted()

    @cached_property
    def fingerprint(self) -> str:
        parts = [self.user, self.item, self.users.values, self.items.values]
        return fingerprint(*parts, *[x for x in (self.time, self.event, self.weight) if x is not None])


@dataclass(frozen=True)
class Impressions:
    """What was shown, where, and what came of it; one row per shown item.

    request: int32 [n], the number of the list (a search, a page view) the row belongs to. item: int32 rows [n].
    position: int32 [n] from 0. outcome: float32 [n], 1 for a click (or a graded outcome), 0 for none.
    query: int32 [n] rows of `queries`, or None. user: int32 [n] or None. time: int64 [n] or None.
    context: an Arrow table of n rows, the circumstances each item was shown in (as `Requests.context`), or None.
    """

    request: np.ndarray
    item: np.ndarray
    position: np.ndarray
    outcome: np.ndarray
    items: Ids
    query: np.ndarray | None = None
    queries: tuple[str, ...] = ()
    user: np.ndarray | None = None
    users: Ids | None = None
    time: np.ndarray | None = None
    context: pa.Table | None = None

    def __len__(self) -> int:
        return len(self.request)

    def take(self, rows: np.ndarray) -> Impressions:
        """Some shown items, in the order given (a boolean mask keeps their order); vocabularies stay whole."""

        def pick(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            request=self.request[rows],
            item=self.item[rows],
            position=self.position[rows],
            outcome=self.outcome[rows],
            query=pick(self.query),
            user=pick(self.user),
            time=pick(self.time),
            context=None if self.context is None else self.context.take(pa.array(at)),
        )

    @cached_property
    def fingerprint(self) -> str:
        parts = [self.request, self.item, self.position, self.outcome, self.items.values, list(self.queries)]
        return fingerprint(*parts, *[x for x in (self.user, self.time, self.context) if x is not None])


def _encode_events(event: Sequence[str] | pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    array = event if isinstance(event, (pa.Array, pa.ChunkedArray)) else pa.array(list(event))
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    encoded = array if pa.types.is_dictionary(array.type) else array.cast(pa.string()).dictionary_encode()
    return np.asarray(encoded.indices, np.int16), tuple(str(name) for name in encoded.dictionary.to_pylist())
