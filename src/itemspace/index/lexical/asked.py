"""`Asked`: a batch of queries beside the postings of their words, and the sums of both in NumPy and SciPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from itemspace.index.lexical.best import best, best_one, nothing
from itemspace.index.lexical.limits import Limits
from itemspace.index.rows import RowMap

_SEARCHED = 32
"""A looked-up slot costs about as much as 32 slots of a dense sum."""

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rows int32 and scores float32 [q, k], and how many match int64 [q]."""


@dataclass(frozen=True)
class Asked:
    """Two sparse matrices: what the queries ask, and where it occurs.

    pointer [q + 1], word and weight [pairs]: each query's distinct words, rarest first, as places in `offsets`, and what
    each counts. offsets [words + 1], slots int32 and impacts float64 [postings]: where each word occurs, slots ascending
    within a word; only slots that the batch may be answered with, and impact 0 in dead ones. width: slots of the index.

    Every way to sum adds the words of a document in the order of the query, so all give the same numbers.
    """

    pointer: np.ndarray
    word: np.ndarray
    weight: np.ndarray
    offsets: np.ndarray
    slots: np.ndarray
    impacts: np.ndarray
    width: int

    def __len__(self) -> int:
        return len(self.pointer) - 1

    def search(self, k: int, rows: RowMap, limits: Limits) -> Found:
        """The k best of every query and how many match it."""
        if len(self) == 1 and not limits.per_request:
            slots, scores = self._sum_of_one()
            return (*best_one(slots, scores, k, rows), np.array([np.count_nonzero(scores)]))
        pointer, slots, scores = self._sums(limits)
        if len(slots) == 0:
            return (*nothing(len(self), k), np.diff(pointer))
        return (*best(pointer, slots, scores, k, rows), np.diff(pointer))

    def matches(self, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
        """The slots of every query's matches [m], in no order, and where each query's begin [q + 1]."""
        pointer, slots, _ = self._sums(limits)
        return slots, pointer

    def _sums(self, limits: Limits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per query the slots [m] that share a word with it, and their scores; [q + 1] says where each begins."""
        words = len(self.offsets) - 1
        if len(self.slots) == 0:
            return np.zeros(len(self) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0)
        # The product keeps a list of the columns each row touched: its cost is the postings, whatever the collection.
        found = sparse.csr_array((self.weight, self.word, self.pointer), shape=(len(self), words)) @ sparse.csr_array(
            (self.impacts, self.slots, self.offsets), shape=(words, self.width)
        )
        pointer, slots, scores = found.indptr.astype(np.int64), found.indices, found.data
        if limits.per_request:
            query = np.repeat(np.arange(len(self)), np.diff(pointer))
            keep = limits.permits(query, slots, len(self), self.width) & (scores > 0)
            slots, scores = slots[keep], scores[keep]
            pointer = np.concatenate(([0], np.cumsum(keep)))[pointer]
        return pointer, slots, scores

    def _sum_of_one(self) -> tuple[np.ndarray, np.ndarray]:
        """`_sums` of the only query without the set-up of a sparse product; its words are in order in `offsets`.

        It uses up `slots` and `impacts`: copies of them would be half of its cost.
        """
        slots, scores, ends = self.slots, self.impacts, self.offsets.tolist()
        for begin, end, weight in zip(ends[:-1], ends[1:], self.weight.tolist(), strict=True):
            scores[begin:end] *= weight
        if len(self.word) <= 1:
            return slots, scores
        split = ends[-2]
        if split * _SEARCHED > self.width:
            dense = np.bincount(slots, scores, minlength=self.width)
            slots = (dense > 0).nonzero()[0]
            return slots, dense[slots]
        few, part = slots[:split], scores[:split]
        if len(self.word) > 2 and split:
            order = few.argsort(kind="stable")
            few = few[order]
            new = np.empty(split, bool)
            new[0] = True
            np.not_equal(few[1:], few[:-1], out=new[1:])
            few, part = few[new], np.bincount(new.cumsum() - 1, part[order])
        if split == len(slots):
            return few, part
        # The last word is the most frequent: the sums of the others are looked up in it and added, and those of slots
        # without it stand right before it.
        many, total = slots[split:], scores[split:]
        at = many.searchsorted(few)
        np.minimum(at, len(many) - 1, out=at)
        held = many[at] == few
        total[at[held]] += part[held]
        few, part = few[~held], part[~held]
        begin = split - len(few)
        slots[begin:split], scores[begin:split] = few, part
        return slots[begin:], scores[begin:]
