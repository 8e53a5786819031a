"""`VectorTable`: the vectors an index keeps, by slot, and the exact scan over them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.bytes import owner
from itemspace.index.growing import Growing
from itemspace.index.rows import Allowed, RowMap, check_rows, grown
from itemspace.index.scan import scan, slack_of
from itemspace.index.scoring import PAIRS, pair_scores, ranked_pairs

_DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.int8))
_GATHERED = 512
"""Vectors gathered at once for one query: few enough that their products find them in the cache."""
_MANY = 64
"""Vectors of its own per query from which queries are answered one by one: gathered together they leave the cache."""


class VectorTable:
    """Dense vectors by slot: a base (often memory-mapped, never written) and a tail that grows with upserts.

    Scores and order of `search` are exact: equal to scoring every allowed vector and sorting by (score, tie).
    """

    _longest: tuple[int, float] = (0, 0.0)
    """Slots looked at, and the greatest length among them."""

    def __init__(self, space: VectorSpace, values: np.ndarray, rows: RowMap) -> None:
        self.space, self.rows = space, rows
        self._base = values
        self._tail = np.empty((0, values.shape[1]), values.dtype)
        self._norms = _norms(values)
        self._plain = np.asarray(values)

    @classmethod
    def build(cls, chunks: Iterable[Any], rows: Iterable[np.ndarray] | None, ties: np.ndarray | None) -> VectorTable:
        """A table of every chunk's vectors. One chunk is kept as it is, mapped or not; more than `growing.MEMORY` bytes in

        several chunks go to a temporary file, so the vectors need not fit in memory.

        Raises:
            ContractError: not dense vectors, no chunk at all, a value that is not finite, or a row given twice.
            SpaceMismatchError: two chunks of different spaces.
        """
        held = Growing()
        numbers: list[np.ndarray] = []
        space: VectorSpace | None = None
        given = None if rows is None else iter(rows)
        start = 0
        for chunk in chunks:
            values = check_dense(chunk)
            if space is None:
                space = chunk.space
            space.check(chunk.space, what="item")
            held.add(values)
            own = np.arange(start, start + len(values)) if given is None else next(given)
            numbers.append(check_rows(own, len(values)))
            start += len(values)
        if space is None:
            raise ContractError("an index needs at least one chunk of vectors (it may be empty) to know its space.")
        slots = RowMap.empty()
        slots.append(check_rows(np.concatenate(numbers), start), ties)
        return cls(space, held.values(), slots)

    def __len__(self) -> int:
        return self.rows.live

    @property
    def dtype(self) -> np.dtype:
        return self._base.dtype

    @property
    def mapped(self) -> bool:
        """Whether the base lies in a file."""
        return isinstance(owner(self._base), np.memmap)

    @property
    def held(self) -> int:
        """Bytes of vectors in memory: what was added, and the base unless it is mapped."""
        return self._tail.nbytes + (0 if self.mapped else self._base.nbytes)

    def put(self, vectors: Any, rows: np.ndarray, ties: np.ndarray | None) -> np.ndarray:
        """Add or replace; the new slots [n].

        Raises:
            ContractError: not dense vectors, values that are not finite, or rows that do not fit.
            SpaceMismatchError: vectors of another space.
        """
        values = check_dense(vectors)
        self.space.check(vectors.space, what="item")
        if values.dtype != self.dtype and self.dtype == np.int8:
            raise ContractError(f"the index holds int8 vectors; these are {values.dtype}.")
        rows = check_rows(rows, len(values))
        used = self.rows.slots - len(self._base)
        slots = self.rows.append(rows, ties)
        self._tail = grown(self._tail, used, len(values))
        self._tail[used : used + len(values)] = values
        self._norms = grown(self._norms, int(slots[0]) if len(slots) else self.rows.slots, len(values))
        self._norms[slots] = _norms(values)
        return slots

    def take(self, slots: np.ndarray) -> np.ndarray:
        """The vectors at `slots` [n, d], in the stored type."""
        if len(self._tail) == 0:
            # Of a plain array: a mapped one costs a Python call more, and more to make than to read.
            return self._plain[slots]
        out = np.empty((len(slots), self._base.shape[1]), self.dtype)
        old = slots < len(self._base)
        out[old] = self._base[slots[old]]
        out[~old] = self._tail[slots[~old] - len(self._base)]
        return out

    def block(self, start: int, stop: int) -> np.ndarray:
        """The vectors of slots start..stop, as a view where they lie together."""
        if stop <= len(self._base):
            return self._base[start:stop]
        if start >= len(self._base):
            return self._tail[start - len(self._base) : stop - len(self._base)]
        return self.take(np.arange(start, stop))

    def search(self, queries: np.ndarray, k: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
        """The k best allowed rows of float32 queries [q, d]: rows int32 and scores float32 [q, k]."""
        if len(queries) == 1 and allowed.include is None and allowed.exclude is None:
            return self._padded([self.one(queries[0], k, allowed.slots)], k)
        if allowed.include is not None:
            own = allowed.include
            slots = allowed.at(own.values)
            if len(slots) >= _MANY * len(queries):
                # Each step is a product over hundreds of vectors.
                ends = own.offsets.tolist()
                return self._padded(
                    [self.one(query, k, slots[a:b]) for query, a, b in zip(queries, ends, ends[1:], strict=False)], k
                )
            group = own.groups
        else:
            group, slots = scan(self, queries, min(k, self.rows.slots), allowed)
        return self.rank(queries, group, slots, k)

    @staticmethod
    def _padded(found: list[tuple[np.ndarray, np.ndarray]], k: int) -> tuple[np.ndarray, np.ndarray]:
        rows, scores = np.full((len(found), k), -1, np.int32), np.full((len(found), k), -np.inf, np.float32)
        for i, (row, score) in enumerate(found):
            rows[i, : len(row)], scores[i, : len(row)] = row, score
        return rows, scores

    def one(self, query: np.ndarray, k: int, slots: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """The k best of `slots` (None: of all, which must be live) for one query [d]: at most k rows and scores."""
        n = self.rows.slots if slots is None else len(slots)
        if n > k:
            scores = self._products(query, slots, n)
            if self.space.metric == "euclidean":
                norms = self._norms[:n] if slots is None else self._norms[slots]
                scores -= 0.5 * norms * norms
            elif self.space.metric == "cosine" and not self.space.normalized:
                norms = self._norms[:n] if slots is None else self._norms[slots]
                scores *= np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
            limit = np.partition(scores, n - k)[n - k] - slack_of(self, query[None])[0]
            kept = np.flatnonzero(scores >= limit)
            slots = kept if slots is None else slots[kept]
        elif slots is None:
            slots = np.arange(n)
        return self.one_ranked(query, slots, k)

    def _products(self, query: np.ndarray, slots: np.ndarray | None, n: int) -> np.ndarray:
        """Inner products float32 [n] of one query with the vectors at `slots` (None: the first n)."""
        out = np.empty(n, np.float32)
        if slots is None:
            for start in range(0, n, 65_536):
                stop = min(start + 65_536, n)
                np.matmul(np.asarray(self.block(start, stop), np.float32), query, out=out[start:stop])
            return out
        buffer = None if len(self._tail) else np.empty((min(n, _GATHERED), len(query)), self.dtype)
        for start in range(0, n, _GATHERED):
            part = slots[start : start + _GATHERED]
            if buffer is None:
                vectors = self.take(part)
            else:
                # Clipping skips a copy that the checked way makes; slots are in range.
                vectors = self._plain.take(part, axis=0, out=buffer[: len(part)], mode="clip")
            np.matmul(np.asarray(vectors, np.float32), query, out=out[start : start + len(part)])
        return out

    def one_ranked(self, query: np.ndarray, slots: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of a few slots [m] by their exact scores: at most k rows int32 and scores float32."""
        scores = pair_scores(
            self.space.metric, self.space.normalized, query[None], np.zeros(len(slots), np.int64), self.take(slots)
        )
        order = np.lexsort((self.rows.ties[slots], -scores))[:k]
        return self.rows.rows[slots[order]], scores[order]

    def rank(self, queries: np.ndarray, group: np.ndarray, slots: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best of candidate pairs (query `group` [m], `slots` [m]) by their exact scores."""
        scores = np.empty(len(slots), np.float32)
        for start in range(0, len(slots), PAIRS):
            part = slice(start, start + PAIRS)
            scores[part] = pair_scores(
                self.space.metric, self.space.normalized, queries, group[part], self.take(slots[part])
            )
        return ranked_pairs(group, self.rows.rows[slots], scores, self.rows.ties[slots], len(queries), k)

    def nearness(self, queries: np.ndarray, start: int, stop: int) -> np.ndarray:
        """float32 [q, stop - start] that orders slots start..stop as the metric does (squares of queries are left out)."""
        scores = queries @ np.asarray(self.block(start, stop), np.float32).T
        norms = self._norms[start:stop]
        if self.space.metric == "euclidean":
            scores -= 0.5 * norms * norms
        elif self.space.metric == "cosine" and not self.space.normalized:
            scores /= np.maximum(norms, 1e-30)
        return scores

    def norms(self, slots: np.ndarray | slice) -> np.ndarray:
        """Euclidean lengths, float32, of the vectors at `slots`."""
        return self._norms[slots]

    @property
    def longest(self) -> float:
        """The greatest length of a vector, dead ones included; looked for once, as slots only ever grow in number."""
        slots, longest = self._longest
        if slots != self.rows.slots:
            longest = max(longest, float(self._norms[slots : self.rows.slots].max(initial=0.0)))
            self._longest = (self.rows.slots, longest)
        return longest

    def compacted(self) -> VectorTable:
        """The live vectors alone, in slot order."""
        live = np.flatnonzero(self.rows.rows >= 0)
        rows = RowMap(self.rows.rows[live], self.rows.ties[live])
        return VectorTable(self.space, self.take(live), rows)

    def save(self, folder: Path) -> None:
        """Write vectors.npy, norms.npy, rows.npy and ties.npy, a block at a time."""
        slots = self.rows.slots
        out = np.lib.format.open_memmap(
            folder / "vectors.npy", mode="w+", dtype=self.dtype, shape=(slots, self._base.shape[1])
        )
        for start in range(0, slots, 65_536):
            out[start : start + 65_536] = self.block(start, min(start + 65_536, slots))
        out.flush()
        del out
        np.save(folder / "norms.npy", self._norms[:slots])
        self.rows.save(folder)

    @classmethod
    def open(cls, folder: Path, space: VectorSpace) -> VectorTable:
        """A table over the memory-mapped vectors of `folder`."""
        table = cls.__new__(cls)
        table.space, table.rows = space, RowMap.open(folder)
        # An empty array cannot be mapped.
        table._base = np.load(folder / "vectors.npy", mmap_mode="r" if table.rows.slots else None)
        table._tail = np.empty((0, table._base.shape[1]), table._base.dtype)
        table._norms = np.load(folder / "norms.npy")
        table._plain = np.asarray(table._base)
        return table


def check_dense(vectors: Any) -> np.ndarray:
    """The values [n, d] of dense vectors, float32, float16 or int8.

    Raises:
        ContractError: another kind of vectors, another dtype, a wrong width, or a value that is not finite.
    """
    if not isinstance(vectors, Dense):
        raise ContractError(f"this index holds Dense vectors, not {type(vectors).__name__}.")
    values = vectors.values
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    if values.dtype not in _DTYPES:
        raise ContractError(f"this index holds {', '.join(map(str, _DTYPES))} vectors, not {values.dtype}.")
    if values.ndim != 2 or values.shape[1] != vectors.space.dimension:
        raise ContractError(
            f"vectors of shape {values.shape} do not fit a space of {vectors.space.dimension} dimensions."
        )
    if values.dtype != np.int8:
        for start in range(0, len(values), 65_536):
            block = values[start : start + 65_536]
            # A sum is finite only when every part is (or cancels to NaN), and costs no temporary.
            if not np.isfinite(block.sum(dtype=np.float64)) and not np.isfinite(block).all():
                bad = int(np.flatnonzero(~np.isfinite(block).all(1))[0]) + start
                raise ContractError(f"vector {bad:,} holds a value that is not a finite number.")
    return values


def check_queries(space: VectorSpace, queries: Any) -> np.ndarray:
    """float32 [q, d] of the queries.

    Raises:
        ContractError, SpaceMismatchError: they are not dense vectors of `space`.
    """
    values = check_dense(queries)
    space.check(queries.space)
    return np.ascontiguousarray(values, np.float32)


def _norms(values: np.ndarray) -> np.ndarray:
    out = np.empty(len(values), np.float32)
    for start in range(0, len(values), 65_536):
        block = values[start : start + 65_536].astype(np.float32)
        out[start : start + 65_536] = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
    return out
