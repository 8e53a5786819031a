"""`Impacts`: the postings of sparse vectors, by term, with the weight each term has in each slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from itemspace.index.lexical.segment import ranges


@dataclass(frozen=True)
class Impacts:
    """Which slots have which term, and how much it counts there.

    terms: sorted int32 [t]. offsets: int64 [t + 1]. slots: int32 [postings], ascending within a term.
    weights: float32 [postings], above 0.
    """

    terms: np.ndarray
    offsets: np.ndarray
    slots: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.slots)

    @classmethod
    def of(cls, vectors: sparse.csr_matrix, first: int) -> Impacts:
        """From CSR rows [n, terms] whose slots are `first`, `first` + 1, ..."""
        slots = np.repeat(np.arange(first, first + vectors.shape[0], dtype=np.int32), np.diff(vectors.indptr))
        keep = vectors.data > 0
        return cls._sorted(vectors.indices[keep].astype(np.int32), slots[keep], vectors.data[keep].astype(np.float32))

    @classmethod
    def _sorted(cls, term: np.ndarray, slots: np.ndarray, weights: np.ndarray) -> Impacts:
        """From one entry per posting [m]; those of a term must come in order of their slots."""
        order = np.argsort(term, kind="stable")
        terms, first = np.unique(term[order], return_index=True)
        offsets = np.append(first, len(term)).astype(np.int64)
        return cls(terms.astype(np.int32), offsets, slots[order], weights[order])

    @classmethod
    def merged(cls, parts: Sequence[Impacts], alive: np.ndarray) -> Impacts:
        """Several as one, later parts holding greater slots; postings of slots that are not `alive` [slots] are dropped."""
        term = np.concatenate([np.repeat(part.terms, np.diff(part.offsets)) for part in parts])
        slots = np.concatenate([part.slots for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        keep = alive[slots]
        return cls._sorted(term[keep], slots[keep], weights[keep])

    def renumbered(self, number: np.ndarray) -> Impacts:
        """The same postings with slot s called `number[s]`, an increasing renumbering."""
        return Impacts(self.terms, self.offsets, number[self.slots].astype(np.int32), self.weights)

    def lengths(self, terms: np.ndarray) -> np.ndarray:
        """How many slots have each of `terms` [n]."""
        return self._find(terms)[1]

    def postings(self, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The postings of distinct `terms` [n]: place in `terms`, slot and weight [m], by place, then slot."""
        begin, lengths = self._find(terms)
        at = ranges(begin, lengths)
        return np.repeat(np.arange(len(terms)), lengths), self.slots[at], self.weights[at]

    def _find(self, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if len(self.terms) == 0:
            return np.zeros(len(terms), np.int64), np.zeros(len(terms), np.int64)
        at = np.minimum(np.searchsorted(self.terms, terms), len(self.terms) - 1)
        lengths = np.where(self.terms[at] == terms, self.offsets[at + 1] - self.offsets[at], 0)
        return self.offsets[at], lengths

    def save(self, folder: Path) -> None:
        for name in ("terms", "offsets", "slots", "weights"):
            np.save(folder / f"impacts_{name}.npy", getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> Impacts:
        names = ("terms", "offsets", "slots", "weights")
        return cls(*(np.load(folder / f"impacts_{name}.npy", mmap_mode="r") for name in names))
