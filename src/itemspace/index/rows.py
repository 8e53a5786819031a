"""`RowMap`: which catalogue row each slot of an index holds, through additions, replacements and removals."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.hashing import splitmix64
from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection


def default_ties(rows: np.ndarray) -> np.ndarray:
    """uint32 tie order for rows whose IDs are not known: a hash of the row, so that order says nothing."""
    return (splitmix64(np.asarray(rows).astype(np.uint64)) >> np.uint64(32)).astype(np.uint32)


def ties_of(rows: np.ndarray, ties: np.ndarray | None) -> np.ndarray:
    """The tie order of `rows`, from `ties` by catalogue row (`Ids.ties`).

    Raises:
        ContractError: `ties` is shorter than the rows need.
    """
    if ties is None:
        return default_ties(rows)
    if len(rows) and int(rows.max()) >= len(ties):
        raise ContractError(
            f"ties has {len(ties):,} entries but row {int(rows.max()):,} is indexed; pass one per catalogue row (ids.ties)."
        )
    return np.asarray(ties)[rows].astype(np.uint32)


def check_rows(rows: np.ndarray, n: int) -> np.ndarray:
    """int32 rows, one per vector.

    Raises:
        ContractError: another count, a negative row, or a row given twice.
    """
    rows = np.asarray(rows, np.int32).reshape(-1)
    if len(rows) != n:
        raise ContractError(f"{n:,} vectors came with {len(rows):,} rows.")
    if len(rows) and int(rows.min()) < 0:
        raise ContractError("a row is negative.")
    if len(np.unique(rows)) != len(rows):
        raise ContractError("a row is given twice in one call.")
    return rows


_KEPT = 8
"""Selections whose slots are remembered."""
_MAPPED = 1 << 18
"""Rows mapped to slots at once: few enough to stay in the cache."""


class SlotSet:
    """The slots a whole batch may be answered with; what is derived from them is computed once.

    slots: sorted int32, None when every slot is live and allowed. size: slots of the index, dead ones included.
    """

    def __init__(self, slots: np.ndarray | None, size: int) -> None:
        self.slots, self.size = slots, size
        self._derived: dict[Any, Any] = {}

    def __len__(self) -> int:
        return self.size if self.slots is None else len(self.slots)

    @cached_property
    def mask(self) -> np.ndarray:
        """bool [size]."""
        if self.slots is None:
            return np.ones(self.size, bool)
        out = np.zeros(self.size, bool)
        out[self.slots] = True
        return out

    @cached_property
    def positions(self) -> np.ndarray:
        """int32 [size]: where each slot stands in `slots`, -1 where it is not allowed."""
        if self.slots is None:
            return np.arange(self.size, dtype=np.int32)
        out = np.full(self.size, -1, np.int32)
        out[self.slots] = np.arange(len(self.slots), dtype=np.int32)
        return out

    @cached_property
    def bits(self) -> np.ndarray:
        """uint8 [ceil(size / 8)]: the mask packed, least significant bit first."""
        return np.packbits(self.mask, bitorder="little")

    def holds(self, slots: np.ndarray) -> np.ndarray:
        """Whether each of a few slots [n] is allowed; -1 is not."""
        if self.slots is None:
            return slots >= 0
        if len(self.slots) == 0:
            return np.zeros(len(slots), bool)
        at = np.minimum(np.searchsorted(self.slots, slots), len(self.slots) - 1)
        return np.asarray(self.slots[at] == slots)

    def derived(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` returns, kept under `key` as long as the set is."""
        if key not in self._derived:
            self._derived[key] = make()
        return self._derived[key]


class RowMap:
    """Slots are positions in an index's own arrays, only ever appended; a row lives in at most one of them.

    rows: int32 [slots], -1 where the slot is dead. ties: uint32 [slots].
    """

    def __init__(self, rows: np.ndarray, ties: np.ndarray) -> None:
        self._rows, self._ties, self._used = rows.astype(np.int32), ties.astype(np.uint32), len(rows)
        self._slot_of = np.full(int(rows.max()) + 1 if len(rows) else 0, -1, np.int32)
        live = np.flatnonzero(rows >= 0)
        self._slot_of[rows[live]] = live
        self.live = len(live)
        self._live_slots: np.ndarray | None = None
        self._sets: OrderedDict[Any, tuple[Any, SlotSet]] = OrderedDict()

    @classmethod
    def empty(cls) -> RowMap:
        return cls(np.zeros(0, np.int32), np.zeros(0, np.uint32))

    @property
    def rows(self) -> np.ndarray:
        return self._rows[: self._used]

    @property
    def ties(self) -> np.ndarray:
        return self._ties[: self._used]

    @property
    def slots(self) -> int:
        """Slots in use, dead ones included."""
        return self._used

    @property
    def live_slots(self) -> np.ndarray | None:
        """Sorted int32 live slots, None when all are; kept between changes, for a search must not cost a pass."""
        if self.live == self.slots:
            return None
        if self._live_slots is None:
            self._live_slots = np.flatnonzero(self.rows >= 0).astype(np.int32)
        return self._live_slots

    def slots_of(self, rows: np.ndarray) -> np.ndarray:
        """The slot of each row [n], -1 where it is not held."""
        rows = np.asarray(rows).reshape(-1)
        if len(rows) and int(rows.min()) >= 0 and int(rows.max()) < len(self._slot_of):
            return np.asarray(self._slot_of[rows])
        known = (rows >= 0) & (rows < len(self._slot_of))
        out = np.full(len(rows), -1, np.int32)
        out[known] = self._slot_of[rows[known]]
        return out

    def allowed(self, within: Selection | None) -> SlotSet:
        """The live slots of the batch-level rows of `within`: kept while neither they nor this map change.

        Mapping costs a pass over the rows, so batches that carry the same selection (the same array of rows) share it.
        """
        rows = None if within is None else within.rows
        narrow = within is not None and rows is None and within.size < len(self._slot_of)
        key = ("rows", id(rows)) if rows is not None else ("size", within.size if narrow and within else -1)
        held = self._sets.get(key)
        if held is not None and (rows is None or held[0]() is rows):
            with suppress(KeyError):  # another search may just have let it go
                self._sets.move_to_end(key)
            return held[1]
        found = SlotSet(self._allowed_slots(within, narrow), self.slots)
        self._sets[key] = (None if rows is None else weakref.ref(rows), found)
        while len(self._sets) > _KEPT:
            self._sets.popitem(last=False)
        return found

    def _allowed_slots(self, within: Selection | None, narrow: bool) -> np.ndarray | None:
        if within is not None and within.rows is not None:
            slots = self.slots_of(within.rows)
            slots = slots[slots >= 0]
            return slots if (np.diff(slots) > 0).all() else np.sort(slots)
        if within is None or not narrow:
            return self.live_slots
        mask = (self.rows >= 0) & (self.rows < within.size)
        return None if mask.all() else np.flatnonzero(mask).astype(np.int32)

    def drop(self, rows: np.ndarray) -> np.ndarray:
        """Forget rows; the slots [m] they held."""
        slots = np.unique(self.slots_of(rows))
        slots = slots[slots >= 0]
        self._live_slots = None
        self._sets.clear()
        self._slot_of[self._rows[slots]] = -1
        self._rows[slots] = -1
        self.live -= len(slots)
        return slots

    def append(self, rows: np.ndarray, ties: np.ndarray | None) -> np.ndarray:
        """New slots [n] for `rows`; whatever held them before is dead."""
        tie = ties_of(rows, ties)
        self.drop(rows)
        start = self._used
        self._rows, self._ties = grown(self._rows, start, len(rows)), grown(self._ties, start, len(rows))
        self._rows[start : start + len(rows)], self._ties[start : start + len(rows)] = rows, tie
        self._used = start + len(rows)
        if len(rows) and int(rows.max()) >= len(self._slot_of):
            more = max(int(rows.max()) + 1, 2 * len(self._slot_of)) - len(self._slot_of)
            self._slot_of = np.concatenate([self._slot_of, np.full(more, -1, np.int32)])
        slots = np.arange(start, self._used, dtype=np.int32)
        self._slot_of[rows] = slots
        self.live += len(rows)
        return slots

    def save(self, folder: Path) -> None:
        np.save(folder / "rows.npy", self.rows)
        np.save(folder / "ties.npy", self.ties)

    @classmethod
    def open(cls, folder: Path) -> RowMap:
        return cls(np.load(folder / "rows.npy"), np.load(folder / "ties.npy"))


def grown(array: np.ndarray, used: int, more: int) -> np.ndarray:
    """`array` with room for `more` entries after the `used` first, doubling so that appends cost O(1) each."""
    if used + more <= len(array):
        return array
    out = np.empty((max(used + more, 2 * used), *array.shape[1:]), array.dtype)
    out[:used] = array[:used]
    return out


@dataclass(frozen=True)
class Allowed:
    """A `Selection` in an index's own terms, for a batch of `queries`.

    slots: sorted int32 slots allowed for the batch, None when every slot is. include: positions in `slots` that each
    query may be answered with, sorted and distinct, None for no such limit. exclude: pairs (query, position in `slots`)
    as two arrays, distinct; None for no limit. counts: int64 [queries], answers each query can have. chosen: the
    batch-level slots with what is derived from them.
    """

    slots: np.ndarray | None
    include: Ragged | None
    exclude: tuple[np.ndarray, np.ndarray] | None
    counts: np.ndarray
    chosen: SlotSet | None = None

    @classmethod
    def of(cls, rows: RowMap, within: Selection | None, queries: int) -> Allowed:
        """`within` over the live slots of `rows`; rows the index does not hold fall away.

        Raises:
            ContractError: the selection's per-request lists are for another number of queries.
        """
        chosen = rows.allowed(within)
        total = len(chosen)
        include = exclude = None
        counts = np.full(queries, total, np.int64)
        if within is not None and within.include is not None:
            include = _own(rows, chosen, within.include, queries)
        if within is not None and within.exclude is not None:
            exclude = _pairs(rows, chosen, within.exclude, queries)
            counts = counts - np.bincount(exclude[0], minlength=queries)
        if include is not None and exclude is not None:
            keep = ~np.isin(include.groups * total + include.values, exclude[0] * total + exclude[1])
            include, exclude = include.filter(keep), None
        if include is not None:
            counts = include.lengths
        return cls(chosen.slots, include, exclude, counts, chosen)

    @property
    def total(self) -> int | None:
        """Slots allowed for the whole batch, None for all."""
        return None if self.slots is None else len(self.slots)

    def only(self, size: int) -> SlotSet:
        """What a batch of one query without exclusions may be answered with; `size`: slots of the index."""
        if self.include is None:
            return self.chosen or SlotSet(self.slots, size)
        return SlotSet(self.at(self.include.values), size)

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The slots at `positions`."""
        return positions if self.slots is None else self.slots[positions]

    def take(self, queries: np.ndarray) -> Allowed:
        """The limits of some of the queries (sorted, distinct)."""
        if len(queries) == len(self.counts):
            return self
        include, exclude = self.include, self.exclude
        if exclude is not None:
            renumber = np.full(len(self.counts), -1, np.int64)
            renumber[queries] = np.arange(len(queries))
            exclude = _kept(exclude, renumber)
        if include is not None:
            include = include.take(queries)
        return Allowed(self.slots, include, exclude, self.counts[queries], self.chosen)

    def permits(self, query: np.ndarray, slot: np.ndarray, slots: int) -> np.ndarray:
        """For pairs (query [m], slot [m], below `slots`): whether the slot may answer the query [m]."""
        ok = np.ones(len(query), bool)
        position = slot.astype(np.int64)
        if self.slots is not None:
            chosen = self.chosen or SlotSet(self.slots, slots)
            position = chosen.positions[slot].astype(np.int64)
            ok = position >= 0
        if self.include is not None:
            ok &= _among_own(self.include, query, position)
        if self.exclude is not None:
            total = slots if self.slots is None else len(self.slots)
            ok &= ~np.isin(query.astype(np.int64) * total + position, self.exclude[0] * total + self.exclude[1])
        return ok


def _kept(pairs: tuple[np.ndarray, np.ndarray], renumber: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    query = renumber[pairs[0]]
    keep = query >= 0
    return query[keep], pairs[1][keep]


def _among_own(own: Ragged, query: np.ndarray, position: np.ndarray) -> np.ndarray:
    """For pairs (query [m], position [m]): whether the position is one of the query's, by bisection of all at once."""
    low, end = own.offsets[query], own.offsets[query + 1]
    high, last = end, max(len(own.values) - 1, 0)
    if not len(own.values):
        return np.zeros(len(query), bool)
    while (low < high).any():
        middle = (low + high) // 2
        before = (low < high) & (own.values[np.minimum(middle, last)] < position)
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return np.asarray((low < end) & (own.values[np.minimum(low, last)] == position))


def _checked(lists: Ragged, queries: int) -> None:
    if len(lists) != queries:
        raise ContractError(f"the selection limits {len(lists):,} requests, but {queries:,} queries were given.")


def _positions(rows: RowMap, chosen: SlotSet, values: np.ndarray) -> np.ndarray:
    """int32 positions in the chosen slots of the rows `values` [m], -1 where they are not allowed."""
    at = rows.slots_of(values)
    if chosen.slots is not None and len(at):
        at = np.where(at >= 0, chosen.positions[at] if chosen.size else -1, -1)
    return at


def _own(rows: RowMap, chosen: SlotSet, lists: Ragged, queries: int) -> Ragged:
    """The distinct positions of per-request row lists, sorted, rows that are not allowed left out.

    Lists that come sorted, as selections do, cost a look at each row; others are sorted.
    """
    _checked(lists, queries)
    at = np.empty(len(lists.values), np.int32)
    for start in range(0, len(at), _MAPPED):
        part = slice(start, start + _MAPPED)
        at[part] = _positions(rows, chosen, lists.values[part])
    rises = at[1:] > at[:-1]
    begins = lists.offsets[1:-1]
    rises[begins[(begins > 0) & (begins < len(at))] - 1] = True
    if rises.all() and int(at.min(initial=0)) >= 0:
        return Ragged(at, lists.offsets)
    keep, total = at >= 0, max(len(chosen), 1)
    keys = np.unique(lists.groups[keep] * total + at[keep])
    counts = np.bincount(keys // total, minlength=queries)
    return Ragged((keys % total).astype(np.int32), np.concatenate(([0], np.cumsum(counts))).astype(np.int64))


def _pairs(rows: RowMap, chosen: SlotSet, lists: Ragged, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (query, position) pairs of per-request row lists, rows that are not allowed left out; sorted."""
    _checked(lists, queries)
    query, at = lists.groups.astype(np.int64), _positions(rows, chosen, lists.values)
    keep = at >= 0
    total = max(len(chosen), 1)
    keys = query[keep] * total + at[keep]
    if not (np.diff(keys) > 0).all():
        keys = np.unique(keys)
    return keys // total, keys % total
