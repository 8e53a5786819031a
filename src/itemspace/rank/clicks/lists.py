"""`Lists`: impressions as click models read them, list by list in the order they were shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itemspace.core.errors import DataError
from itemspace.core.interactions import Impressions


@dataclass(frozen=True)
class Lists:
    """Shown items sorted by (list, position); every array has one entry per shown item [n] unless it says otherwise.

    offsets: int64 [lists + 1]; list i owns offsets[i]:offsets[i + 1]. rank: the position as logged, from 0. key: int64,
    query row x items + item row (query 0 where there is none). click: bool, outcome above 0. order: the row of each in
    the impressions.
    """

    offsets: np.ndarray
    rank: np.ndarray
    key: np.ndarray
    click: np.ndarray
    order: np.ndarray
    items: int

    @classmethod
    def of(cls, shown: Impressions) -> Lists:
        """The lists of a log.

        Raises:
            DataError: there are no impressions, or a position is below 0.
        """
        if len(shown) == 0:
            raise DataError("there are no impressions to learn from", hint="Give a log of what was shown and clicked.")
        if int(shown.position.min()) < 0:
            raise DataError("a position is below 0", column="position", hint="Positions count from 0 (or 1) downwards.")
        order = np.lexsort((shown.position, shown.request))
        request = shown.request[order]
        starts = np.flatnonzero(np.concatenate(([True], request[1:] != request[:-1])))
        items = len(shown.items)
        key = shown.item[order].astype(np.int64)
        if shown.query is not None:
            key = np.maximum(shown.query[order], 0).astype(np.int64) * items + key
        return cls(
            np.concatenate((starts, [len(order)])).astype(np.int64),
            shown.position[order].astype(np.int64),
            key,
            shown.outcome[order] > 0,
            order,
            items,
        )

    def __len__(self) -> int:
        """The number of lists."""
        return len(self.offsets) - 1

    @property
    def ranks(self) -> int:
        """One more than the deepest rank."""
        return int(self.rank.max()) + 1

    @cached_property
    def lengths(self) -> np.ndarray:
        """Items per list [lists]."""
        return np.diff(self.offsets)

    @cached_property
    def groups(self) -> np.ndarray:
        """The list of each shown item."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def place(self) -> np.ndarray:
        """The place of each in its list, from 0: its rank, where ranks have no gaps."""
        return np.arange(len(self.key)) - self.offsets[:-1][self.groups]

    @cached_property
    def last(self) -> np.ndarray:
        """The index of each list's last click [lists], -1 where it has none."""
        out = np.full(len(self), -1, np.int64)
        at = np.flatnonzero(self.click)
        out[self.groups[at]] = at  # later clicks of a list are written over earlier ones
        return out

    @cached_property
    def first(self) -> np.ndarray:
        """The index of each list's first click [lists], `n` where it has none."""
        out = np.full(len(self), len(self.key), np.int64)
        at = np.flatnonzero(self.click)[::-1]
        out[self.groups[at]] = at
        return out

    @cached_property
    def previous(self) -> np.ndarray:
        """The index of the nearest click above each shown item in its list, -1 where there is none."""
        index = np.arange(len(self.key))
        seen = np.maximum.accumulate(np.where(self.click, index, -1))
        above = np.concatenate(([-1], seen[:-1]))
        return np.where(above >= self.offsets[:-1][self.groups], above, -1)

    def matrix(self, values: np.ndarray, fill: float | bool = 0.0) -> np.ndarray:
        """Values [n] by list and place [lists, longest], `fill` where a list has ended."""
        out = np.full((len(self), int(self.lengths.max())), fill, values.dtype)
        out[self.groups, self.place] = values
        return out

    def flat(self, matrix: np.ndarray) -> np.ndarray:
        """What `matrix` laid out, flat again [n]."""
        return matrix[self.groups, self.place]

    def as_logged(self, values: np.ndarray) -> np.ndarray:
        """Values [n] in the order of the impressions."""
        out = np.empty_like(values)
        out[self.order] = values
        return out


@dataclass(frozen=True)
class Pairs:
    """The query-item pairs a model knows: sorted keys [m], numbered by their place."""

    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The number of each key, `len(self)` where it is unknown."""
        if not len(self):
            return np.zeros(len(keys), np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self) - 1)
        return np.where(self.keys[at] == keys, at, len(self))


@dataclass(frozen=True)
class Cells:
    """Counts per (pair, condition) cell [cells]: all that models of one examination per cell need to know of a log.

    pair: its number. condition: the rank, or what else decides examination. shown, clicked: float64 counts.
    """

    pair: np.ndarray
    condition: np.ndarray
    shown: np.ndarray
    clicked: np.ndarray

    @classmethod
    def count(cls, pair: np.ndarray, condition: np.ndarray, click: np.ndarray, conditions: int) -> Cells:
        """From one entry per shown item [n]; conditions are below `conditions`."""
        cell, at = np.unique(pair.astype(np.int64) * conditions + condition, return_inverse=True)
        shown = np.bincount(at, minlength=len(cell)).astype(np.float64)
        clicked = np.bincount(at, click, minlength=len(cell))
        return cls(cell // conditions, cell % conditions, shown, clicked)
