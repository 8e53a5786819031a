"""What in a dataset gives the answer away, measured: each function returns numbers, `describe` puts them into words."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.dataset import Dataset
from itemspace.core.ids import Ids
from itemspace.core.interactions import Interactions
from itemspace.data.columns import mask, unix_seconds

_REMOVED = re.compile(r"(^|_)(removed|deleted|discontinued|delisted|expired|retired|withdrawn)(_|$)", re.IGNORECASE)


@dataclass(frozen=True)
class IdOrder:
    """How well the numbers in item IDs foretell the next item.

    next_hits: users whose last item is numbered one above the highest number before it. users: users with two events
    or more. chance: the share a number drawn at random would hit. order: rank correlation in [-1, 1] of the item's
    number and its place of first appearance, users taken in the order of their own numbers (nan where those are not
    numbers).
    """

    next_hits: int
    users: int
    chance: float
    order: float

    @property
    def share(self) -> float:
        return self.next_hits / self.users if self.users else 0.0


def numbers_of(ids: Ids) -> np.ndarray | None:
    """The IDs as integers [n], or None when one of them is not a plain number."""
    if not len(ids) or not mask(pc.match_substring_regex(ids.values, r"^\d{1,18}$")).all():
        return None
    return np.asarray(ids.values.cast(pa.int64()))


def id_order(log: Interactions) -> IdOrder | None:
    """Measure `IdOrder` on the last event of every user; None where item IDs are not numbers."""
    numbers = numbers_of(log.items)
    if numbers is None or not len(log):
        return None
    counts = np.bincount(log.user, minlength=len(log.users))
    ends = np.cumsum(counts)
    several = counts >= 2
    number = numbers[log.item]
    last = number[(ends - 1)[several]]
    before = np.where(np.isin(np.arange(len(log)), (ends - 1)[counts > 0]), -1, number)
    highest = np.maximum.reduceat(before, (ends - counts)[counts > 0])[several[counts > 0]]
    return IdOrder(
        int((last == highest + 1).sum()), int(several.sum()), 1 / max(len(numbers), 1), _appearance(log, numbers)
    )


def _appearance(log: Interactions, numbers: np.ndarray) -> float:
    users = numbers_of(log.users)
    if users is None:
        return float("nan")
    order = np.lexsort((np.arange(len(log)), users[log.user]))
    items, first = np.unique(log.item[order], return_index=True)
    if len(items) < 3:
        return float("nan")
    return float(np.corrcoef(_ranks(numbers[items]), _ranks(first))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def last_ties(log: Interactions) -> tuple[int, int]:
    """Users whose last two events have the same time, of users with two events or more: which is last is file order."""
    assert log.time is not None
    counts = np.bincount(log.user, minlength=len(log.users))
    last = np.cumsum(counts)[counts >= 2] - 1
    return int((log.time[last] == log.time[last - 1]).sum()), len(last)


def unseen(log: Interactions) -> tuple[int, int, int]:
    """Leave-one-out: test items that occur in no training event, the users tested on one, and the users tested.

    A user of three events or more gives the last event to the test, the one before to validation, the rest to training;
    a user of fewer events gives all to training.
    """
    counts = np.bincount(log.user, minlength=len(log.users))
    ends = np.cumsum(counts)[counts >= 3]
    held = np.zeros(len(log), bool)
    held[ends - 1] = held[ends - 2] = True
    seen = np.bincount(log.item[~held], minlength=len(log.items)) > 0
    missed = log.item[ends - 1][~seen[log.item[ends - 1]]]
    return len(np.unique(missed)), len(missed), len(ends)


def after_removal(data: Dataset) -> dict[str, tuple[int, int]]:
    """For each time column of the catalogue that names a removal: events after it, and events of items that have it."""
    log = data.interactions
    found: dict[str, tuple[int, int]] = {}
    if log is None or log.time is None:
        return found
    for name in data.catalog.schema.columns("time"):
        if not _REMOVED.search(name):
            continue
        column = data.catalog.column(name)
        values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        seconds, problems, _ = unix_seconds(values)
        known = ~np.any([wrong for wrong, _, _ in problems], axis=0)
        has = known[log.item]
        found[name] = int((log.time[has] > seconds[log.item[has]]).sum()), int(has.sum())
    return found


def bare_items(data: Dataset) -> np.ndarray:
    """Items of which the catalogue knows nothing but the ID, bool [n]; all False in a catalogue of IDs alone."""
    names = [name for name in data.catalog.table.column_names if name != data.catalog.schema.id]
    bare = np.ones(len(data.catalog), bool) if names else np.zeros(len(data.catalog), bool)
    for name in names:
        bare &= missing_values(data.catalog.table.column(name))
    return bare


def missing_values(column: pa.ChunkedArray) -> np.ndarray:
    """Where a column says nothing [n]: null, an empty string, an empty list."""
    absent = np.asarray(column.is_null())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        absent = absent | mask(pc.equal(pc.utf8_trim_whitespace(column), ""))
    elif pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        absent = absent | mask(pc.equal(pc.list_value_length(column), 0))
    return absent
