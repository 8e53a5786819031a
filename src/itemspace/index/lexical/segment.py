"""`Segment`: an immutable run of postings, by term; and the arithmetic that takes them apart and together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Segment:
    """Which slots hold which term, how often in which field.

    terms: sorted int32 [t]. offsets: int64 [t + 1]. slots: int32 [postings], ascending within a term.
    counts: uint16 [fields, postings].
    """

    terms: np.ndarray
    offsets: np.ndarray
    slots: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, terms: np.ndarray, slots: np.ndarray, fields: np.ndarray, number_of_fields: int) -> Segment:
        """From one entry per word of every text: its term, slot and field [m]."""
        key = (terms.astype(np.int64) << 32) | slots.astype(np.int64)
        unique, inverse = np.unique(key, return_inverse=True)
        counts = np.stack([np.bincount(inverse[fields == f], minlength=len(unique)) for f in range(number_of_fields)])
        return cls._grouped(unique, np.minimum(counts, 65_535).astype(np.uint16))

    @classmethod
    def _grouped(cls, key: np.ndarray, counts: np.ndarray) -> Segment:
        """From sorted distinct keys (term << 32 | slot)."""
        term = (key >> 32).astype(np.int32)
        first = np.flatnonzero(np.concatenate(([True], term[1:] != term[:-1]))) if len(term) else np.zeros(0, np.int64)
        return cls(
            term[first], np.append(first, len(term)).astype(np.int64), (key & 0xFFFFFFFF).astype(np.int32), counts
        )

    @classmethod
    def merged(cls, parts: list[Segment], alive: np.ndarray) -> Segment:
        """The postings of several segments whose slot is `alive` [slots]."""
        keys, counts = [], []
        for part in parts:
            keep = alive[part.slots]
            term = np.repeat(part.terms, np.diff(part.offsets))
            keys.append(((term.astype(np.int64) << 32) | part.slots)[keep])
            counts.append(part.counts[:, keep])
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        return cls._grouped(key[order], np.concatenate(counts, axis=1)[:, order])

    def __len__(self) -> int:
        return len(self.slots)

    def find(self, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the postings of `terms` [n] begin and end (equal where there are none)."""
        if len(self.terms) == 0:
            return np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64)
        at = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
        found = self.terms[at] == terms
        return np.where(found, self.offsets[at], 0), np.where(found, self.offsets[at + 1], 0)

    def save(self, folder: Path) -> None:
        for name in ("terms", "offsets", "slots", "counts"):
            np.save(folder / f"postings_{name}.npy", getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> Segment:
        loaded = []
        for name in ("terms", "offsets", "slots", "counts"):
            path = folder / f"postings_{name}.npy"
            array = np.load(path)
            # What grows with the collection is mapped; an empty array cannot be.
            loaded.append(np.load(path, mmap_mode="r") if array.size and name in ("slots", "counts") else array)
        return cls(*loaded)


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ... for `lengths[0]` numbers, then the next range: int64 [sum of lengths]."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
