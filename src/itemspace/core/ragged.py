"""`Ragged`: one variable-length list of values per request, flat with offsets (nothing is padded)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """`values` [total] and `offsets` [n + 1]: row i is `values[offsets[i]:offsets[i + 1]]`."""

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or int(self.offsets[-1]) != len(self.values):
            raise ValueError("offsets must be one longer than the rows and end at len(values)")

    @classmethod
    def from_lists(cls, rows: Iterable[Sequence[int] | np.ndarray], dtype: np.dtype | type = np.int32) -> Ragged:
        arrays = [np.asarray(row, dtype) for row in rows]
        offsets = np.concatenate(([0], np.cumsum([len(a) for a in arrays]))).astype(np.int64)
        return cls(np.concatenate(arrays) if arrays else np.zeros(0, dtype), offsets)

    @classmethod
    def from_groups(cls, group: np.ndarray, values: np.ndarray, n: int) -> Ragged:
        """Row g holds the values whose `group` is g, in input order. group [m] in 0..n-1."""
        order = np.argsort(group, kind="stable")
        counts = np.bincount(group, minlength=n)
        return cls(values[order], np.concatenate(([0], np.cumsum(counts))).astype(np.int64))

    @classmethod
    def empty(cls, n: int, dtype: np.dtype | type = np.int32) -> Ragged:
        return cls(np.zeros(0, dtype), np.zeros(n + 1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def groups(self) -> np.ndarray:
        """The row of each value [total]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def take(self, rows: np.ndarray) -> Ragged:
        """Rows `rows`, in that order."""
        rows = np.asarray(rows)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        lengths = self.lengths[rows]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(self.offsets[:-1][rows], lengths) + within], offsets)

    def last(self, length: int) -> Ragged:
        """The last `length` values of every row."""
        lengths = np.minimum(self.lengths, length)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths)
        return Ragged(self.values[np.repeat(self.offsets[1:] - lengths, lengths) + within], offsets)

    def with_values(self, values: np.ndarray) -> Ragged:
        """The same rows over other values [total]."""
        return Ragged(values, self.offsets)

    def filter(self, keep: np.ndarray) -> Ragged:
        """Only the values where `keep` [total] is true."""
        counts = np.bincount(self.groups[keep], minlength=len(self))
        return Ragged(self.values[keep], np.concatenate(([0], np.cumsum(counts))).astype(np.int64))

    def concat(self, other: Ragged) -> Ragged:
        """Row by row, this row's values followed by the other's."""
        groups = np.concatenate([self.groups, other.groups])
        return Ragged.from_groups(groups, np.concatenate([self.values, other.values]), len(self))

    def to_lists(self) -> list[list[int]]:
        flat = self.values.tolist()
        bounds = self.offsets.tolist()
        return [flat[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]


def distinct(keys: np.ndarray, upto: int) -> np.ndarray:
    """The distinct values of `keys` [m] in order, as `np.unique` gives them; by flags where they are dense in 0..upto - 1."""
    if upto > max(128 * len(keys), 4096) or len(keys) == 0 or keys.min() < 0 or keys.max() >= upto:
        return np.unique(keys)
    flags = np.zeros(upto, bool)
    flags[keys] = True
    return np.flatnonzero(flags)


def among(keys: np.ndarray, members: np.ndarray, upto: int) -> np.ndarray:
    """Which `keys` (any shape) occur in `members` [m], both from 0 to `upto` - 1: `np.isin`, by flags where cheaper."""
    if upto > max(128 * len(members), 4096):
        return np.isin(keys, members)
    flags = np.zeros(upto, bool)
    flags[members] = True
    return flags[keys]
