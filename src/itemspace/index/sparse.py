"""`SparseIndex`: learned sparse vectors (impacts), looked up term by term, live, with filters before the cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Sparse, VectorSpace
from itemspace.index.flat import check_k
from itemspace.index.guard import Guarded
from itemspace.index.lexical.asked import Asked
from itemspace.index.lexical.best import nothing
from itemspace.index.lexical.impacts import Impacts
from itemspace.index.lexical.limits import Limits
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import RowMap, check_rows

_RATIO = 8
"""Postings of later changes are merged into earlier ones once they hold this share of them."""


class SparseConfig(Config):
    block: int = Field(1 << 22, ge=1024, description="most postings of the queries that are answered at once")


class SparseIndex(Guarded):
    """An inverted index over given weights: a hit scores the dot product of its vector with the query's, exactly.

    Use it behind an encoder that makes `Sparse` vectors (`ImpactEncoder`, or weights of a model of your own); choose
    `BM25Index` for words as they are. Weights are 0 or above, and only items that share a term with the query are hits,
    so fewer than k may come back. A query costs the postings of its terms, whatever the vocabulary.
    """

    config: SparseConfig
    accepts: ClassVar[tuple[type, ...]] = (Sparse,)
    exact: ClassVar[bool] = True

    _space: VectorSpace | None = None
    _rows: RowMap
    _parts: list[Impacts]

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        given = None if rows is None else iter(rows)
        held, parts, space, start = RowMap.empty(), [], None, 0
        for chunk in chunks:
            space = _check(chunk, space or getattr(chunk, "space", None))
            own = np.arange(start, start + len(chunk)) if given is None else next(given)
            start += len(chunk)
            own = check_rows(own, len(chunk))
            if (held.slots_of(own) >= 0).any():
                raise ContractError("a row is given twice.")
            first = held.slots
            held.append(own, ties)
            parts.append(Impacts.of(sp.csr_matrix(chunk.values), first))
        if space is None:
            raise ContractError("an index needs at least one chunk of vectors (it may be empty) to know its space.")
        self._space, self._rows = space, held
        self._parts = [Impacts.merged(parts, held.rows >= 0)]
        return self

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        found = [asked.search(k, self._rows, limits) for asked, limits in self._blocks(queries, within)]
        if not found:
            return Hits(*nothing(0, k), total=np.zeros(0, np.int64))
        rows, scores, total = (np.concatenate(part) for part in zip(*found, strict=True))
        return Hits(rows, scores, total=total, explanation={"plan": "impacts", "searched": self._rows.live})

    def matches(self, queries: Any, within: Selection | None = None) -> Ragged:
        """The rows that share a term with each query, in no order: what totals and facets count."""
        found = [asked.matches(limits) for asked, limits in self._blocks(queries, within)]
        if not found:
            return Ragged.empty(0)
        slots = np.concatenate([slots for slots, _ in found])
        lengths = np.concatenate([np.diff(pointer) for _, pointer in found])
        return Ragged(self._rows.rows[slots], np.concatenate(([0], np.cumsum(lengths))))

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        _check(vectors, self.space)
        first = self._rows.slots
        self._rows.append(check_rows(rows, len(vectors)), ties)
        self._parts.append(Impacts.of(sp.csr_matrix(vectors.values), first))
        while len(self._parts) > 1 and len(self._parts[-2]) <= _RATIO * len(self._parts[-1]):
            self._parts[-2:] = [Impacts.merged(self._parts[-2:], self._rows.rows >= 0)]

    def remove(self, rows: np.ndarray) -> None:
        self._built()
        self._rows.drop(rows)

    def compact(self) -> None:
        self._built()
        live = np.flatnonzero(self._rows.rows >= 0)
        number = np.full(self._rows.slots, -1, np.int32)
        number[live] = np.arange(len(live))
        self._parts = [Impacts.merged(self._parts, self._rows.rows >= 0).renumbered(number)]
        self._rows = RowMap(self._rows.rows[live], self._rows.ties[live])

    def save(self, folder: Path) -> None:
        space = self.space
        Impacts.merged(self._parts, self._rows.rows >= 0).save(Path(folder))
        self._rows.save(Path(folder))
        write_header(folder, "sparse", 1, space=space.to_json(), config=self.config.model_dump())

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "sparse", 1)
        index = cls(**header["config"])
        index._space, index._rows = space_from(header), RowMap.open(Path(folder))
        index._parts = [Impacts.open(Path(folder))]
        return index

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self._built()

    def __len__(self) -> int:
        return 0 if self._space is None else self._rows.live

    def _built(self) -> VectorSpace:
        if self._space is None:
            raise ContractError("SparseIndex is empty: call build first.")
        return self._space

    def _blocks(self, queries: Any, within: Selection | None) -> Iterator[tuple[Asked, Limits]]:
        """The queries in blocks of bounded memory, each with its limits."""
        _check(queries, self.space)
        asked = sp.csr_matrix(queries.values)
        asked.sum_duplicates()
        asked.eliminate_zeros()
        limits = Limits.of(self._rows, within, asked.shape[0])
        terms = np.unique(asked.indices)
        frequency = sum((part.lengths(terms) for part in self._parts), np.zeros(len(terms), np.int64))
        before = np.concatenate(([0], np.cumsum(frequency[np.searchsorted(terms, asked.indices)])))
        cost = np.diff(before[asked.indptr])
        if limits.per_request:
            cost = np.maximum(cost, self._rows.slots)
        spent, start = np.cumsum(cost), 0
        while start < asked.shape[0]:
            reached = spent[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(spent, reached + self.config.block, side="right")))
            part = limits.take(start, stop) if limits.per_request else limits
            yield self._asked(asked[start:stop], part.mask), part
            start = stop

    def _asked(self, queries: sp.csr_matrix, mask: np.ndarray | None) -> Asked:
        """The postings of the queries' terms, in live slots that `mask` allows."""
        terms, word = np.unique(queries.indices, return_inverse=True)
        found = [part.postings(terms) for part in self._parts]
        place, slots, weights = (np.concatenate(column) for column in zip(*found, strict=True))
        keep = self._rows.rows[slots] >= 0
        if mask is not None:
            keep &= mask[slots]
        place, slots, weights = place[keep], slots[keep], weights[keep]
        if len(found) > 1:  # later parts hold greater slots, so a stable sort keeps slots ascending within a term
            order = np.argsort(place, kind="stable")
            place, slots, weights = place[order], slots[order], weights[order]
        offsets = np.searchsorted(place, np.arange(len(terms) + 1))
        return Asked(
            queries.indptr.astype(np.int32),
            word.reshape(-1).astype(np.int32),
            queries.data.astype(np.float64),
            offsets.astype(np.int32 if len(slots) < 1 << 31 else np.int64),
            slots,
            weights.astype(np.float64),
            self._rows.slots,
        )


def _check(vectors: Any, space: VectorSpace | None) -> VectorSpace:
    if not isinstance(vectors, Sparse):
        raise ContractError(f"SparseIndex holds Sparse vectors, not {type(vectors).__name__}.")
    if space is None or space.metric != "dot":
        raise ContractError("SparseIndex scores by dot product: the vectors' space must say metric dot.")
    space.check(vectors.space)
    data = vectors.values.data
    if len(data) and not (np.isfinite(data).all() and data.min() >= 0):
        raise ContractError("weights of sparse vectors are finite and 0 or above.")
    return space
