"""`Forward`: the terms of every slot, so that forgetting a text costs its words and not a pass over all postings."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from itemspace.index.lexical.segment import Segment, ranges
from itemspace.index.rows import grown


class Forward:
    """Distinct terms per slot, appended as slots are; made when the first text is forgotten."""

    def __init__(self, segments: list[Segment], slots: int) -> None:
        self._terms = np.zeros(0, np.int32)
        self._ends = np.zeros(1, np.int64)
        self._slots = 0
        if segments:
            self._extend(*_transposed(segments, slots), slots)

    def append(self, segment: Segment, slots: int) -> None:
        """The texts of a new segment; the index now has `slots` slots."""
        term = np.repeat(segment.terms, np.diff(segment.offsets))
        order = np.argsort(segment.slots, kind="stable")
        lengths = np.bincount(segment.slots - self._slots, minlength=slots - self._slots)
        self._extend(term[order], lengths, slots)

    def of(self, slots: np.ndarray) -> np.ndarray:
        """The terms of some slots, one after another [total]."""
        starts = self._ends[slots]
        return self._terms[ranges(starts, self._ends[slots + 1] - starts)]

    def _extend(self, terms: np.ndarray, lengths: np.ndarray, slots: int) -> None:
        used, more = int(self._ends[self._slots]), len(terms)
        self._terms = grown(self._terms, used, more)
        self._terms[used : used + more] = terms
        self._ends = grown(self._ends, self._slots + 1, slots - self._slots)
        self._ends[self._slots + 1 : slots + 1] = used + np.cumsum(lengths)
        self._slots = slots


def _transposed(segments: list[Segment], slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Terms by slot, and how many each slot has."""
    term = np.concatenate([np.repeat(part.terms, np.diff(part.offsets)) for part in segments])
    slot = np.concatenate([part.slots for part in segments])
    line = sparse.csr_array((term, slot, np.array([0, len(slot)])), shape=(1, slots)).tocsc()
    return line.data, np.diff(line.indptr)
