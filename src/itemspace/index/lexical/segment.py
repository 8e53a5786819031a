"""`Segment`: an immutable run of postings, by term; and the arithmetic that takes them apart and together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

_FEW = 8192
"""Words up to which one comparison sort is cheaper than two counting sorts."""


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
        if len(terms) <= _FEW:
            key = (terms.astype(np.int64) << 32) | slots.astype(np.int64)
            order = np.argsort(key, kind="stable")
        else:
            order = _by_term_and_slot(terms, slots)
            key = (terms[order].astype(np.int64) << 32) | slots[order]
            return cls._counted(key, fields[order], number_of_fields)
        return cls._counted(key[order], fields[order], number_of_fields)

    @classmethod
    def _counted(cls, key: np.ndarray, fields: np.ndarray, number_of_fields: int) -> Segment:
        """From sorted keys (term << 32 | slot), one per word, and the words' fields."""
        first = _starts(key)
        if number_of_fields == 1:
            counts = np.diff(first, append=len(key))[None]
        else:
            counts = np.stack(
                [
                    np.add.reduceat(fields == f, first, dtype=np.int64) if len(first) else np.zeros(0, np.int64)
                    for f in range(number_of_fields)
                ]
            )
        return cls._grouped(key[first], np.minimum(counts, 65_535).astype(np.uint16))

    @classmethod
    def _grouped(cls, key: np.ndarray, counts: np.ndarray) -> Segment:
        """From sorted distinct keys (term << 32 | slot)."""
        term = (key >> 32).astype(np.int32)
        first = _starts(term)
        return cls(
            term[first], np.append(first, len(term)).astype(np.int64), (key & 0xFFFFFFFF).astype(np.int32), counts
        )

    @classmethod
    def merged(cls, parts: list[Segment], alive: np.ndarray) -> Segment:
        """The postings of several segments whose slot is `alive` [slots]."""
        keys, counts = [], []
        for part in parts:
            keep = alive[part.slots]
            key = (np.repeat(part.terms, np.diff(part.offsets)).astype(np.int64) << 32) | part.slots
            keys.append(key[keep])
            counts.append(part.counts[:, keep])
        if len(parts) == 1:
            return cls._grouped(keys[0], counts[0])
        key = np.concatenate(keys)
        # The parts are sorted already, and the stable sort merges sorted runs.
        order = np.argsort(key, kind="stable")
        return cls._grouped(key[order], np.concatenate(counts, axis=1)[:, order])

    def __len__(self) -> int:
        return len(self.slots)

    def find(self, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of `terms` [n] have postings here, and their places in `self.terms`: two int64 arrays [found]."""
        if len(self.terms) == 0:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        at = self.terms.searchsorted(terms)
        # A term past the last one is compared with the last, and differs from it.
        np.minimum(at, len(self.terms) - 1, out=at)
        held = (self.terms[at] == terms).nonzero()[0]
        return held, at[held]

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


def _starts(sorted_values: np.ndarray) -> np.ndarray:
    """Where each run of equal values begins: int64 [runs]."""
    if len(sorted_values) == 0:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], sorted_values[1:] != sorted_values[:-1])))


def _by_term_and_slot(terms: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """The order of words by term, then slot [m], in linear time: by slot, then stably by term."""
    order = np.arange(len(terms))
    if (slots[1:] < slots[:-1]).any():
        order = _counting_order(slots - slots.min())
    return order[_counting_order(terms[order])]


def _counting_order(values: np.ndarray) -> np.ndarray:
    """`np.argsort(values, kind="stable")` of small non-negative integers by counting: a sparse row transposed."""
    line = sparse.csr_array(
        (np.arange(len(values), dtype=np.int32), values.astype(np.int32), np.array([0, len(values)], np.int32)),
        shape=(1, int(values.max()) + 1),
    )
    return line.tocsc().data


def ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """starts[0], starts[0] + 1, ... for `lengths[0]` numbers, then the next range: int64 [sum of lengths]."""
    ends = lengths.cumsum()
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
